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


class DeviceAuthentication(BaseAuthentication):
    """`Authorization: Bearer ACCESS_TOKEN`; `request.auth` is the device."""

    def authenticate(self, request: Request) -> tuple[PhoneUser, Device] | None:
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != b"bearer":
            return None
        if len(words) != 2:
            raise AuthenticationFailed("Write the header as: Authorization: Bearer ACCESS_TOKEN.")
        token = words[1].decode("ascii", "replace")
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
            raise AuthenticationFailed("The access token is unknown or expired: refresh it once.")
        return PhoneUser(), device

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class DeviceScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the published schema shows the token."""

    target_class = DeviceAuthentication
    name = "device"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
