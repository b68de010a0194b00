"""Health endpoints, and what everybody gets while the database is away."""

import json
import re

import pytest
from django.db import connection
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

pytestmark = pytest.mark.django_db
BODY = {
    "code": "0000000000",
    "installation_id": "5b" * 16,
    "refresh_token": "token",
    "items": [],
}


def test_a_server_that_can_work_says_so() -> None:
    assert Client().get("/health/live").json() == {"status": "alive"}
    assert Client().get("/health/ready").json() == {"status": "ready"}


def test_a_database_that_may_forget_makes_the_server_unready() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
    answer = Client().get("/health/ready")
    assert answer.status_code == 503
    assert "synchronous_commit" in answer.json()["reason"]


NEEDS_NO_DATABASE = {"/api/v1/time"}


def phone_doors() -> list[tuple[str, str]]:
    """Every door of the published schema that asks the database, with a value in each place."""
    doors = SchemaGenerator().get_schema(public=True)["paths"].items()  # type: ignore[no-untyped-call]
    return [
        (method, re.sub(r"{\w+}", "1", path))
        for path, methods in doors
        for method in methods
        if path not in NEEDS_NO_DATABASE and not path.startswith("/api/v1/studies/")
    ]


def test_the_schema_names_the_doors_of_phones() -> None:
    assert {("post", "/api/v1/me/submissions:batch"), ("post", "/api/v1/tokens/refresh")} <= {
        *phone_doors()
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "path"), [("get", "/health/ready"), *phone_doors()])
def test_while_the_database_is_away_everybody_is_told_to_come_back(method: str, path: str) -> None:
    away = {**connection.settings_dict, "HOST": "/nowhere", "PORT": "1"}
    here, connection.settings_dict = connection.settings_dict, away
    connection.close()
    try:
        answer = Client().generic(
            method.upper(),
            path,
            json.dumps(BODY),
            content_type="application/json",
            headers={"Authorization": "Bearer token"},
        )
    finally:
        connection.settings_dict = here
        connection.close()
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert answer["Content-Type"] == "application/problem+json"
    assert json.loads(answer.content)["code"] == "database_away"
