"""manage.py vapid_keys: a fresh key pair for Web Push."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Print a fresh VAPID key pair: the private key for the server's environment, the public "
        "one for web apps. Changing it later makes every Web Push registration useless."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            from ema import vapid
        except ImportError as error:
            raise CommandError("Web Push needs the extra 'push': fourbeat[push].") from error
        private = vapid.new_private_key()
        public = vapid.public_key(vapid.private_key(private))
        self.stdout.write(f"VAPID_PRIVATE_KEY={private}")
        self.stdout.write(f"public key (applicationServerKey of web apps): {public}")
