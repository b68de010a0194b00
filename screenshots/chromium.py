"""Which browser takes the pictures and opens pages in tests; None where there is none."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
