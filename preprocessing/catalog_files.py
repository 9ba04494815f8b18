"""Finding video files in folders, and whose they are."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocessing.media_files import VIDEO_SUFFIXES


@dataclass(frozen=True)
class FoundFile:
    """A video file as the file system tells it, not opened."""

    path: Path  # absolute
    root: Path  # absolute
    size_bytes: int
    modified_ns: int
    stored_path: str  # the path as the catalog keeps it: see `storable`
    relative_path: str  # below the root, forward slashes
    identity: str  # the first folder below the root; of a file right in the root its own stem

    @property
    def has_utf8_name(self) -> bool:
        """Whether the path can be kept as text."""
        return self.stored_path == str(self.path)


def storable(text: str) -> str:
    r"""A name from the file system as UTF-8 text; undecodable bytes become ``\\xNN``."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def identity_slug(identity: str) -> str:
    """ASCII key of an identity: lower-case letters, digits, ``-``, then 8 hex digits of its hash.

    Names that look alike in ASCII stay apart by the hash; a name composed differently in Unicode
    (as macOS does) gives the same key. Matches `schema.KEY_PATTERN`; at most 41 characters.
    """
    composed = unicodedata.normalize("NFC", identity)
    ascii_only = unicodedata.normalize("NFKD", composed).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:32].rstrip("-")
    digest = hashlib.sha256(composed.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{words}-{digest}" if words else digest


def find_videos(roots: Sequence[Path]) -> tuple[list[FoundFile], list[str]]:
    """Video files below `roots`, by suffix, in a fixed order; each path once.

    Hidden files and folders are left out. Links to folders are followed, each folder is entered
    once, so that loops end.

    Returns:
        The files, and the folders that could not be listed.
    """
    unreadable: list[str] = []
    files: dict[Path, FoundFile] = {}
    for root in roots:
        for file in _walk(root.resolve(), unreadable):
            files.setdefault(file.path, file)
    return list(files.values()), unreadable


def _walk(root: Path, unreadable: list[str]) -> Iterator[FoundFile]:
    entered: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        unreadable.append(storable(str(error.filename)))

    for folder, folder_names, file_names in os.walk(root, onerror=note, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in entered:
            folder_names.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        # True folders before links, so that a folder is known by its own name and not by a link's.
        visible = [name for name in folder_names if not name.startswith(".")]
        folder_names[:] = sorted(visible, key=lambda name: (Path(folder, name).is_symlink(), name))
        for name in sorted(file_names):
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in VIDEO_SUFFIXES:
                yield from _found(path, root)


def _found(path: Path, root: Path) -> Iterator[FoundFile]:
    try:
        status = path.stat()
    except FileNotFoundError:  # a dangling link, or gone since it was listed
        return
    relative = path.relative_to(root)
    yield FoundFile(
        path=path,
        root=root,
        size_bytes=status.st_size,
        modified_ns=status.st_mtime_ns,
        stored_path=storable(str(path)),
        relative_path=storable(relative.as_posix()),
        identity=storable(relative.parts[0] if len(relative.parts) > 1 else path.stem),
    )
