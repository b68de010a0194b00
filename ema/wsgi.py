"""What the web server runs."""

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema.settings")
framework = get_wsgi_application()

from ema.api.straight import straight_to_doors  # noqa: E402 - Django is ready only now

application = straight_to_doors(framework)
_ = get_resolver().url_patterns  # imports every view now, not with the first request
gc.collect()
gc.freeze()  # what is loaded stays: looking through it again and again is a sixth of a request
