"""Speed as ratios inside one run: `make bench`. Machines are shared and noisy; ratios are less so.

Everything runs on servers of its own in `.data/bench`, whatever the environment names: the rows
there are thrown away. This file is read before Django reads its settings.
"""

import os
from pathlib import Path

STATE_DIR = Path(__file__).resolve().parent.parent / ".data" / "bench"
os.environ |= {
    "FOURBEAT_STATE_DIR": str(STATE_DIR),
    "DATABASE_URL": "",
    "REDIS_URL": "",
    "DEBUG": "",
    "ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_SETTINGS_MODULE": "ema.settings",
}
