"""Flip one byte of each kind of file below a root."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_NAMES = (
    (re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}"), "BUILD"),
    (re.compile(r"b\d{5}-[0-9a-f]{8}"), "BATCH"),
    (re.compile(r"[0-9a-f]{16}"), "ID"),
    (re.compile(r"\d{8}T[\d.]+Z-\w+"), "BASELINE"),
)


def files_by_kind(root: Path, left_out: tuple[str, ...] = ()) -> dict[str, Path]:
    """One file of each kind: of those whose paths differ by names of builds, batches and videos alone."""
    kinds: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        kind = path.relative_to(root).as_posix()
        if not path.is_file() or not path.stat().st_size or kind.startswith(left_out):
            continue
        for pattern, name in _NAMES:
            kind = pattern.sub(name, kind)
        kinds.setdefault(kind, path)
    return kinds


@contextmanager
def flipped_byte(path: Path, share: float = 0.5) -> Generator[None]:
    """Flip the lowest bit of the byte at a share of the file; the time stays, as with a bad sector."""
    data, status = path.read_bytes(), path.stat()
    damaged = bytearray(data)
    damaged[int(share * (len(data) - 1))] ^= 1

    def write(content: bytes) -> None:
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    write(bytes(damaged))
    try:
        yield
    finally:
        write(data)
