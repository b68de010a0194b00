"""The published schema is valid OpenAPI 3.1 and names every door of the phone."""

import json

import pytest
from django.core.management import call_command
from django.test import Client, RequestFactory

from ema.api.errors import server_error


@pytest.mark.django_db
def test_the_schema_is_published_without_a_token() -> None:
    schema = json.loads(Client().get("/api/v1/schema/").content)
    assert schema["openapi"].startswith("3.1")
    batch = schema["paths"]["/api/v1/me/submissions:batch"]["post"]
    assert batch["security"] == [{"device": []}]
    assert {"200", "400", "401", "413", "503"} <= set(batch["responses"])


def test_the_schema_is_valid_and_complete(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", validate=True, fail_on_warn=True)
    assert "openapi: 3.1" in capsys.readouterr().out


@pytest.mark.django_db
def test_where_no_door_is_a_program_gets_a_problem_and_a_person_a_page() -> None:
    missing = Client().get("/api/v1/questionnaires/hourly/minus-one")
    assert (missing.status_code, missing["Content-Type"]) == (404, "application/problem+json")
    assert missing.json()["code"] == "not_found"
    assert Client().get("/no/such/page")["Content-Type"].startswith("text/html")


@pytest.mark.django_db
def test_an_upload_states_the_length_of_its_answer() -> None:
    answer = Client().post("/api/v1/me/submissions:batch", "{}", content_type="application/json")
    assert answer["Content-Length"] == str(len(answer.content))


def test_a_defect_is_a_problem_for_a_program() -> None:
    failed = server_error(RequestFactory().get("/api/v1/time"))
    assert (failed.status_code, failed["Content-Type"]) == (500, "application/problem+json")


@pytest.mark.django_db
def test_the_page_to_read_tells_every_door_and_every_field() -> None:
    schema = json.loads(Client().get("/api/v1/schema/").content)
    page = Client().get("/api/v1/docs/").content.decode()
    for path, operations in schema["paths"].items():
        for method in operations:
            assert f"{method.upper()} {path}</code>" in page
    assert "items[].answers[].value" in page
    assert "one of created, duplicate, conflict, quarantined" in page
    assert "a phone&#x27;s access token" in page
