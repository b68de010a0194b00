"""A program of an operator proves itself with a token, a password or a browser's session."""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import (
    BaseAuthentication,
    BasicAuthentication,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.views import APIView

from ema import codes, second_factor
from ema.api.authentication import token_of
from ema.models import ApiToken

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema


class PasswordAuthentication(BasicAuthentication):
    """A name and a password, counted where the admin counts its failures (`ema/login.py`)."""

    def authenticate_credentials(
        self, userid: str, password: str, request: Request | None = None
    ) -> Any:
        if settings.MFA_REQUIRED:
            raise AuthenticationFailed(
                "A password alone opens nothing here: make a token on the page Your account and "
                "send it as Authorization: Bearer TOKEN."
            )
        asked = request._request if request else None  # what the count marks
        return super().authenticate_credentials(userid, password, asked)  # type: ignore[arg-type]


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer TOKEN` of the page Your account."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        token = token_of(get_authorization_header(request).decode("ascii", "replace"))
        if token is None:
            return None
        live = ApiToken.objects.live(timezone.now()).select_related("user")
        found = live.filter(token_hash=codes.hash_token(token)).first()
        if found is None:
            raise AuthenticationFailed("The token is unknown, expired or revoked.")
        return found.user, found


class SecondFactorSession(SessionAuthentication):
    """A browser's session that has shown its second factor, where one is asked for."""

    def authenticate(self, request: Request) -> Any:
        if second_factor.is_missing(request._request):
            return None
        return super().authenticate(request)


class OperatorView(APIView):
    """A door for people who sign in, not for phones."""

    authentication_classes = [
        PasswordAuthentication,
        TokenAuthentication,
        SecondFactorSession,
    ]


class PasswordScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the published schema shows a password."""

    target_class = PasswordAuthentication
    name = "basicAuth"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {"type": "http", "scheme": "basic"}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the published schema shows an operator's token."""

    target_class = TokenAuthentication
    name = "operatorToken"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the published schema shows a session."""

    target_class = SecondFactorSession
    name = "cookieAuth"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
