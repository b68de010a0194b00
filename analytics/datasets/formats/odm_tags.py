"""Tags of XML, as text."""

from xml.sax.saxutils import quoteattr


def tag(name: str, end: str = "", **attributes: str) -> str:
    """An opening tag on its line; `end` is "/" where nothing is inside."""
    listed = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{listed}{end}>\n"
