"""Files over HTTP that can be resumed: ETag, If-None-Match, Range and If-Range (RFC 9110)."""

import re
from collections.abc import Iterator
from pathlib import Path

from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

AT_ONCE = 1 << 18
ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def file_response(request: Request, path: Path, *, sha256: str, kind: str) -> HttpResponseBase:
    """The file, the part of it that was asked for, or that it has not changed."""
    etag, size = f'"{sha256}"', path.stat().st_size
    common = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if _is_known(request.headers.get("If-None-Match", ""), etag):
        return HttpResponse(status=304, headers=common)
    asked = _asked(request.headers.get("Range", ""), size)
    if asked is None or request.headers.get("If-Range", etag) != etag:
        return FileResponse(
            path.open("rb"),
            as_attachment=True,
            filename=path.name,
            content_type=kind,
            headers=common,
        )
    start, end = asked
    if start >= end:
        return HttpResponse(status=416, headers=common | {"Content-Range": f"bytes */{size}"})
    more = {
        "Content-Range": f"bytes {start}-{end - 1}/{size}",
        "Content-Length": str(end - start),
        "Content-Disposition": f'attachment; filename="{path.name}"',
    }
    return StreamingHttpResponse(
        _part(path, start, end), status=206, content_type=kind, headers=common | more
    )


def _is_known(header: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return bool({etag, "*"} & tags)


def _asked(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None where the whole file is to be sent.

    Several ranges at once are answered with the whole file, as the standard allows.
    """
    found = ONE_RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def _part(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (block := file.read(min(AT_ONCE, end - start))):
            start += len(block)
            yield block
