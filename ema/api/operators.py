"""A program of an operator proves itself with a password, or with a browser's session."""

from typing import TYPE_CHECKING, Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BasicAuthentication
from rest_framework.request import Request

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema


class PasswordAuthentication(BasicAuthentication):
    """A name and a password, counted where the admin counts its failures (`ema/login.py`)."""

    def authenticate_credentials(
        self, userid: str, password: str, request: Request | None = None
    ) -> Any:
        asked = request._request if request else None  # what the count marks
        return super().authenticate_credentials(userid, password, asked)  # type: ignore[arg-type]


class PasswordScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the published schema shows it."""

    target_class = PasswordAuthentication
    name = "basicAuth"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {"type": "http", "scheme": "basic"}
