"""Checksums of the blocks of a large file, so that a reader of a few bytes can check what it reads.

`<file>.crc32` holds the CRC-32 of each block of `BLOCK_BYTES` bytes (the last may be shorter), little-endian
32-bit numbers in the file's order: a thousandth of the file's size. It is published beside the file and
has its own sha256 in the manifest. A CRC-32 finds every single changed byte.
"""

import os
import sys
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final

BLOCK_BYTES: Final = 4096
CHECKSUMS_SUFFIX: Final = ".crc32"
_ITEM_BYTES: Final = 4


def checksums_path(file: Path) -> Path:
    """Where the checksums of a file's blocks are."""
    return file.with_name(file.name + CHECKSUMS_SUFFIX)


class BlockChecksums:
    """Collects the checksums of what is written to a file."""

    def __init__(self) -> None:
        self._checksums: list[int] = []
        self._pending = bytearray()

    def add(self, data: bytes) -> None:
        """Count in the next bytes of the file."""
        self._pending += data
        whole = len(self._pending) - len(self._pending) % BLOCK_BYTES
        view = memoryview(self._pending)
        self._checksums += [
            zlib.crc32(view[start : start + BLOCK_BYTES]) for start in range(0, whole, BLOCK_BYTES)
        ]
        view.release()
        del self._pending[:whole]

    def write(self, file: Path) -> None:
        """Write the checksums of the whole file beside it."""
        last = [zlib.crc32(self._pending)] if self._pending else []
        checksums = array("I", [*self._checksums, *last])
        if sys.byteorder == "big":
            checksums.byteswap()
        checksums_path(file).write_bytes(checksums.tobytes())


def read_checksums(file: Path) -> Sequence[int] | None:
    """The checksums of a file's blocks; None if there are none, as for files of earlier versions.

    Raises:
        ValueError: there are too many or too few for the file's size.
    """
    path = checksums_path(file)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return parse_checksums(data, file.stat().st_size, str(path))


def parse_checksums(data: bytes, size_bytes: int, name: str) -> Sequence[int]:
    """The checksums in the bytes of a file `name` that belongs to a file of `size_bytes`.

    Raises:
        ValueError: there are too many or too few for that size.
    """
    blocks = -(-size_bytes // BLOCK_BYTES)
    if len(data) != blocks * _ITEM_BYTES:
        raise ValueError(
            f"{name} has {len(data)} bytes, need {blocks * _ITEM_BYTES} for the {size_bytes} bytes of its "
            "file: one of both is damaged; run: pdfgc repair"
        )
    checksums = array("I", data)  # 4 bytes each, and read faster than numpy's scalars
    if sys.byteorder == "big":
        checksums.byteswap()
    return checksums


def read_checked(descriptor: int, checksums: Sequence[int], offset: int, size: int) -> bytes:
    """Bytes of an open file, after their blocks were checked; fewer at the end of the file.

    Raises:
        ValueError: a block has another checksum.
    """
    first = offset // BLOCK_BYTES
    start, end = first * BLOCK_BYTES, offset + size
    data = os.pread(descriptor, -(-end // BLOCK_BYTES) * BLOCK_BYTES - start, start)
    view = memoryview(data)
    for number, at in enumerate(range(0, len(data), BLOCK_BYTES), first):
        if zlib.crc32(view[at : at + BLOCK_BYTES]) != checksums[number]:
            raise ValueError(
                f"has a wrong checksum at bytes {start + at} to {start + at + BLOCK_BYTES}: the file changed "
                "since it was written"
            )
    return data[offset - start : end - start]
