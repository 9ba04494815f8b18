"""Tars of clips: byte-identical when re-made, and any clip readable without the others.

Written by the standard library, not by webdataset's writer: that one brings torch into every worker.
"""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from preprocessing.schema import KEY_PATTERN


@dataclass(frozen=True)
class Place:
    """Where one sample's members lie in a tar."""

    offset_bytes: int
    size_bytes: int


class ArchiveWriter:
    """Writes WebDataset samples; the same samples make the same bytes on any day by any user."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, key: str, members: Mapping[str, bytes]) -> Place:
        """Append one sample: members by extension, `key.extension` in the tar, in the extensions' order.

        Raises:
            ValueError: a key that WebDataset would not read back as one, or no member.
        """
        if not KEY_PATTERN.fullmatch(key) or not members:
            raise ValueError(
                f"sample {key!r} with {len(members)} members: need a key like {KEY_PATTERN.pattern}"
            )
        start = self._file.tell()
        for extension in sorted(members):
            info = tarfile.TarInfo(f"{key}.{extension}")
            info.size = len(members[extension])
            info.mode, info.mtime = 0o444, 0
            info.uname = info.gname = "pdfgc"
            # Not by a TarFile, which would keep the headers of a long video's every picture.
            self._file.write(info.tobuf(tarfile.USTAR_FORMAT))
            self._file.write(members[extension])
            self._file.write(bytes(-info.size % tarfile.BLOCKSIZE))
        return Place(start, self._file.tell() - start)

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def close(self) -> None:
        """Write the tar's end: two empty blocks, filled up to a whole record as tar does."""
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.write(bytes(-self._file.tell() % tarfile.RECORDSIZE))
        self._file.close()

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_members(path: Path, place: Place) -> dict[str, bytes]:
    """Members by extension of the sample at `place`.

    Raises:
        ValueError: if the bytes there are not one whole sample of plain files.
    """
    with path.open("rb") as file:
        file.seek(place.offset_bytes)
        data = file.read(place.size_bytes)
    if len(data) != place.size_bytes:
        raise ValueError(
            f"{path} ends at {place.offset_bytes + len(data)} bytes, inside a sample; re-make it"
        )
    where = f"{path} at byte {place.offset_bytes}"
    members: dict[str, bytes] = {}
    keys: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for info in tar:
                key, _, extension = info.name.partition(".")
                extracted = tar.extractfile(info) if info.isreg() else None
                if extracted is None or extension in members:
                    raise ValueError(f"{where}: {info.name} is no plain file, or there twice")
                keys.add(key)
                members[extension] = extracted.read()
    except tarfile.TarError as error:
        raise ValueError(f"{where}: not a tar member ({error})") from error
    if len(keys) != 1:
        raise ValueError(f"{where}: members of {sorted(keys)}, need one sample")
    return members
