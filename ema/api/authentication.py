"""A phone proves itself with its access token."""

from typing import TYPE_CHECKING

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from ema import codes
from ema.models import Device

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema


class PhoneUser:
    """Stands where Django expects a user: a phone is authenticated but is nobody's login."""

    is_authenticated = True
    is_anonymous = False
    pk = None


class Unknown(AuthenticationFailed):
    """No phone has this token, or none was sent."""

    default_detail = "The access token is missing, unknown or expired: refresh it once."
    auth_header = "Bearer"


def token_of(header: str) -> str | None:
    """The token of an Authorization header; None where it is of another kind, or absent."""
    kind, *words = header.split() or [""]
    if kind.lower() != "bearer":
        return None
    if len(words) != 1:
        raise AuthenticationFailed("Write the header as: Authorization: Bearer ACCESS_TOKEN.")
    return words[0]


class DeviceAuthentication(BaseAuthentication):
    """`Authorization: Bearer ACCESS_TOKEN`; `request.auth` is the device."""

    def authenticate(self, request: Request) -> tuple[PhoneUser, Device] | None:
        token = token_of(get_authorization_header(request).decode("ascii", "replace"))
        if token is None:
            return None
        device = (
            Device.objects.filter(
                access_hash=codes.hash_token(token),
                access_expires_at__gt=timezone.now(),
                revoked_at=None,
            )
            .select_related("participant__study")
            .first()
        )
        if device is None:
            raise Unknown
        return PhoneUser(), device

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class DeviceScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the published schema shows the token."""

    target_class = DeviceAuthentication
    name = "device"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
