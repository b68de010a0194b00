"""SMS by apprise, which speaks to some two dozen SMS companies and says if one took the message."""

import re

from apprise import Apprise
from apprise.result import AppriseResult
from django.conf import settings

from ema.link_settings import gateway
from scheduler.channels import Message, PushError
from scheduler.links.shared import seconds_to_send, text
from scheduler.push.shared import registration_of

CODE = re.compile(r"\berror=([0-9]{3})\b")
PASSING = frozenset({401, 402, 403, 407, 408, 425, 429})


def send(message: Message) -> None:
    """One SMS; a gateway that takes it counts as sent."""
    to = registration_of(message)
    service = gateway(settings.SMS_URL, to.address)
    if service is None:
        raise PushError("SMS_URL does not take this number", permanent=True)
    services = Apprise(asset=service.asset)
    services.add(service)
    with services.notify(
        text(message), body_format="text", timeout=seconds_to_send(message)
    ) as result:
        if not result:
            raise refusal(result)


def refusal(result: AppriseResult) -> PushError:
    """Apprise tells a code of HTTP at most: it proves nothing about the number."""
    said = " ".join(entry.message for entry in result.logs())
    code = next((int(found[1]) for found in CODE.finditer(said)), None)
    words = f"answered {code}" if code else f"did not take it ({result.status.name.lower()})"
    never = code is not None and 400 <= code < 500 and code not in PASSING
    return PushError(f"the SMS gateway {words}", permanent=never)
