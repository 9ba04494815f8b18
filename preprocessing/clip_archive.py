"""Tars of clips: byte-identical when re-made, and any clip readable without the others."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self


@dataclass(frozen=True)
class Place:
    """Where one sample's members lie in a tar."""

    offset_bytes: int
    size_bytes: int


class ArchiveWriter:
    """Writes WebDataset samples; the same samples make the same bytes on any day by any user."""

    def __init__(self, path: Path) -> None:
        from webdataset.writer import TarWriter

        self._file: IO[bytes] = path.open("wb")
        self._tar: Any = TarWriter(self._file, user="pdfgc", group="pdfgc", mtime=0, encoder=False)

    def write(self, key: str, members: dict[str, bytes]) -> Place:
        """Append one sample: members by extension, `key.extension` in the tar."""
        start: int = self._tar.tarstream.offset
        self._tar.write({"__key__": key, **members})
        return Place(start, self._tar.tarstream.offset - start)

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return int(self._tar.tarstream.offset)

    def close(self) -> None:
        """Write the tar's end."""
        self._tar.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_members(path: Path, place: Place) -> dict[str, bytes]:
    """Members by extension of the sample at `place`.

    Raises:
        ValueError: if the bytes there are not one whole sample.
    """
    with path.open("rb") as file:
        file.seek(place.offset_bytes)
        data = file.read(place.size_bytes)
    if len(data) != place.size_bytes:
        raise ValueError(f"{path} ends at {place.offset_bytes + len(data)} bytes, inside a sample; re-make it")
    members: dict[str, bytes] = {}
    keys: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for info in tar:
                key, _, extension = info.name.partition(".")
                keys.add(key)
                extracted = tar.extractfile(info)
                assert extracted is not None
                members[extension] = extracted.read()
    except tarfile.TarError as error:
        raise ValueError(f"{path} at byte {place.offset_bytes}: not a tar member ({error})") from error
    if len(keys) != 1:
        raise ValueError(f"{path} at byte {place.offset_bytes}: members of {sorted(keys)}, need one sample")
    return members
