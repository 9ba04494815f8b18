"""Tars of clips: byte-identical whenever they are written again, and readable clip by clip.

Written with the standard library: webdataset's writer would import torch in every worker.
"""

import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from preprocessing.schema import KEY_PATTERN
from storage.integrity.block_checksums import BlockChecksums
from storage.tar_header import next_header, parse_tar_header, peek_tar_header

# POSIX.1-1988, ustar
LONGEST_NAME: Final = 99  # bytes before the field's end
SIZE_FIELD: Final = slice(124, 136)
CHECKSUM_FIELD: Final = slice(148, 156)


@dataclass(frozen=True)
class Place:
    """Byte range of one sample's members in a tar."""

    offset_bytes: int
    size_bytes: int


def member_header(name: str, size: int) -> bytes:
    """The header of a regular file, as tarfile writes it in the ustar format, in a fifth of its time."""
    encoded = name.encode()
    if len(encoded) > LONGEST_NAME:
        return _header_by_tarfile(name, size)
    header = bytearray(_TEMPLATE)
    header[: len(encoded)] = encoded
    header[SIZE_FIELD] = b"%011o\0" % size
    header[CHECKSUM_FIELD] = b" " * 8
    header[CHECKSUM_FIELD] = b"%06o\0 " % sum(header)
    return bytes(header)


def _header_by_tarfile(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode, info.mtime = 0o444, 0
    info.uname = info.gname = "pdfgc"
    return info.tobuf(tarfile.USTAR_FORMAT)


_TEMPLATE: Final = _header_by_tarfile("", 0)


class ArchiveWriter:
    """Writes WebDataset samples; the same samples give the same bytes, whenever and by whomever written."""

    def __init__(self, path: Path, *, with_checksums: bool = False) -> None:
        """Create a tar, with the checksums of its blocks beside it if asked for."""
        self._path = path
        self._file = path.open("wb")
        self._checksums = BlockChecksums() if with_checksums else None

    def write(self, key: str, members: Mapping[str, bytes]) -> Place:
        """Append one sample: a member `key.extension` for each extension, in their sorted order.

        Raises:
            ValueError: a key that WebDataset would split, or no member.
        """
        if not KEY_PATTERN.fullmatch(key) or not members:
            raise ValueError(
                f"sample {key!r} with {len(members)} members, need a key that matches {KEY_PATTERN.pattern} "
                "and at least one member"
            )
        start = self._file.tell()
        for extension in sorted(members):
            size = len(members[extension])
            # A TarFile would keep the headers of every picture of a long video in memory.
            self._write(member_header(f"{key}.{extension}", size))
            self._write(members[extension])
            self._write(bytes(-size % tarfile.BLOCKSIZE))
        return Place(start, self._file.tell() - start)

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def close(self) -> None:
        """Write the end of the tar: two empty blocks, padded to a whole record as tar does."""
        with self._file:
            self._write(bytes(2 * tarfile.BLOCKSIZE))
            self._write(bytes(-self._file.tell() % tarfile.RECORDSIZE))
        if self._checksums is not None:
            self._checksums.write(self._path)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        if self._checksums is not None:
            self._checksums.add(data)

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_members(path: Path, place: Place) -> dict[str, bytes]:
    """Members by extension of the sample at `place`.

    Raises:
        ValueError: the bytes at `place` are not one whole sample of regular files.
    """
    with path.open("rb") as file:
        file.seek(place.offset_bytes)
        data = file.read(place.size_bytes)
    if len(data) != place.size_bytes:
        raise ValueError(
            f"{path} ends at {place.offset_bytes + len(data)} bytes, inside a sample; build it again"
        )
    where = f"{path} at byte {place.offset_bytes}"
    members: dict[str, bytes] = {}
    keys: set[str] = set()
    start = 0
    while start < len(data) or not data:
        try:
            name, size = parse_tar_header(data[start : start + tarfile.BLOCKSIZE])
        except ValueError as error:
            raise ValueError(f"{where}: not a tar member ({error})") from error
        start += tarfile.BLOCKSIZE
        key, _, extension = name.partition(".")
        if extension in members or start + size > len(data):
            raise ValueError(f"{where}: {name} of {size} bytes is cut off, or occurs twice")
        keys.add(key)
        members[extension] = data[start : start + size]
        start = next_header(start, size)
    if len(keys) != 1:
        raise ValueError(f"{where}: members of {sorted(keys)}, need those of one sample")
    return members


def read_some_members(path: Path, place: Place, extensions: Collection[str]) -> dict[str, bytes]:
    """Some of the members of the sample at `place`, by extension.

    Reads the sample's bytes once and walks from header to header: for one frame of a clip of 64 this takes a
    tenth of the time of `read_members`, which builds a `TarInfo` for every member.

    Raises:
        ValueError: a member is missing, or the bytes at `place` are not one whole sample.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(place.offset_bytes)
        data = file.read(place.size_bytes)
    members = None if len(data) != place.size_bytes else _some_members(data, extensions)
    if members is None:
        # Not a regular member, or not whole: `read_members` raises the error.
        all_members = read_members(path, place)
        members = {name: all_members[name] for name in set(extensions) & all_members.keys()}
    if missing := set(extensions) - members.keys():
        raise ValueError(f"{path} at byte {place.offset_bytes}: no member {', '.join(sorted(missing))}")
    return members


def some_members(data: bytes, extensions: Collection[str]) -> dict[str, bytes]:
    """Some of the members of a sample out of its bytes, as `read_some_members` finds them.

    Raises:
        ValueError: a member is missing, or the bytes are not one whole sample.
    """
    members = _some_members(data, extensions) or {}
    if missing := set(extensions) - members.keys():
        raise ValueError(f"no member {', '.join(sorted(missing))} in {len(data)} bytes of a sample")
    return members


def _some_members(whole: bytes, extensions: Collection[str]) -> dict[str, bytes] | None:
    """The members that there are; None where a header is not one of a regular file."""
    data, wanted = memoryview(whole), set(extensions)
    members: dict[str, bytes] = {}
    start = 0
    while start < len(data) and len(members) < len(wanted):
        name, size = _peek(bytes(data[start : start + tarfile.BLOCKSIZE]))
        start += tarfile.BLOCKSIZE
        if size < 0 or start + size > len(data):
            return None
        extension = name.partition(".")[2]
        if extension in wanted:
            members[extension] = bytes(data[start : start + size])
        start = next_header(start, size)
    return members


def _peek(header: bytes) -> tuple[str, int]:
    """Name and size of a regular file's member; size -1 for any other header."""
    try:
        return peek_tar_header(header) if len(header) == tarfile.BLOCKSIZE else ("", -1)
    except ValueError:
        return "", -1
