"""A package in the making: files in a directory beside the final one, and the hash of each."""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

Say = Callable[[str, int], None]
"""Told the name of a file and how many bytes of it are written."""


class File(NamedTuple):
    """What there is to know of a file of a package."""

    sha256: str
    size: int


def silent(name: str, size: int) -> None:
    """Say nothing."""


class Hashed(io.BufferedIOBase):
    """A new file that only its owner reads; it is hashed while it is written."""

    def __init__(self, path: Path, say: Callable[[int], None]) -> None:
        self._file = open(path, "xb", opener=_private)  # noqa: SIM115 - closed by close()
        self._digest, self._size, self._say = hashlib.sha256(), 0, say

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, block: Any) -> int:
        self._digest.update(block)
        self._file.write(block)
        self._size += len(block)
        self._say(self._size)
        return len(block)

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                self._file.close()
        super().close()

    def facts(self) -> File:
        return File(self._digest.hexdigest(), self._size)


@dataclass
class Draft:
    """A directory in the making."""

    directory: Path
    say: Say = silent
    files: dict[str, File] = field(default_factory=dict)

    @contextmanager
    def open(self, name: str) -> Iterator[Hashed]:
        """A new file of the package; when it is complete, its hash is noted."""
        path = self.directory / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with Hashed(path, lambda size: self.say(name, size)) as file:
            yield file
        self.files[name] = file.facts()

    def write(self, name: str, blocks: Iterable[bytes | memoryview]) -> None:
        with self.open(name) as file:
            for block in blocks:
                file.write(block)

    def text(self, name: str, content: str) -> None:
        self.write(name, [content.encode()])

    def sync(self) -> None:
        """Have the names on disk, as the files' contents are."""
        for directory in (self.directory / "data", self.directory):
            sync(directory)


def sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
