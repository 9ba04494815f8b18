"""Single files out of a zip or tar, by their names, written nowhere but where they are wanted."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DAMAGED_ARCHIVE: Final = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)
"""What reading a damaged archive raises."""
PIECE_BYTES: Final = 1 << 20


def unpack(archive: Path, targets: Mapping[str, Path]) -> None:
    """Write an archive's regular files of certain names, in whatever folder of it they lie.

    Args:
        archive: zip or tar, compressed or not.
        targets: a file's name -> where its bytes go. Nothing else is written anywhere.

    Raises:
        ValueError: it is no archive.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                target = targets.get(Path(member.filename).name)
                if target is not None and not member.is_dir():
                    with opened.open(member) as lying, target.open("wb") as copy:
                        shutil.copyfileobj(lying, copy, PIECE_BYTES)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            for member in opened:
                target = targets.get(Path(member.name).name)
                lying = opened.extractfile(member) if target is not None and member.isfile() else None
                if target is not None and lying is not None:
                    with lying, target.open("wb") as copy:
                        shutil.copyfileobj(lying, copy, PIECE_BYTES)
    else:
        raise ValueError(f"{archive} is no zip and no tar")
