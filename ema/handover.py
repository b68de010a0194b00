"""What is handed to a participant: the one-time code, typed or as a QR code to scan."""

import segno

QR_PIXELS = 5


def written(code: str) -> str:
    """As people read a code aloud: 7KQ2-M9XT-4D."""
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))


def enrol_address(server: str, code: str) -> str:
    """What the QR code says: the server's address, then the code where no server log sees it."""
    return f"{server.rstrip('/')}/enrol#{code}"


def qr_svg(text: str, *, title: str) -> str:
    """A QR code as SVG to stand in a page; black on white in every look, for cameras."""
    made = segno.make(text, error="m", micro=False)
    drawn: str = made.svg_inline(
        scale=QR_PIXELS, dark="#000", light="#fff", title=title, svgclass="qr", lineclass=None
    )
    return drawn
