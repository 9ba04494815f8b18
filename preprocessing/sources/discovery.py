"""Finding video files in folders and buckets, and whose they are."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from preprocessing.media.container import VIDEO_SUFFIXES
from preprocessing.sources.remote import BucketPath, SourcePath, list_objects, source_path

ENDINGS: Final = tuple(sorted(VIDEO_SUFFIXES))


@dataclass(frozen=True)
class SourceFile:
    """A video file as the file system or the bucket tells it, not opened."""

    location: str  # absolute path, or s3://bucket/key; text, since a `Path` costs more than the listing
    root: SourcePath  # absolute
    size_bytes: int
    modified_ns: int
    stored_path: str  # the location as the catalog keeps it: see `storable`
    relative_path: str  # below the root, forward slashes
    identity: str  # the first folder below the root; of a file right in the root its own stem

    @property
    def path(self) -> SourcePath:
        """Where to read it."""
        return Path(self.location) if isinstance(self.root, Path) else source_path(self.location)

    @property
    def has_utf8_name(self) -> bool:
        """Whether the path can be kept as text."""
        return self.stored_path == self.location


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


def find_videos(roots: Sequence[SourcePath]) -> tuple[list[SourceFile], list[str]]:
    """Video files below `roots`, by suffix, in a fixed order; each path once. None is opened.

    Hidden files and folders are left out. Links to folders are followed, each folder is entered
    once, so that loops end.

    Returns:
        The files, and the folders and files that could not be listed or asked for their size and time.

    Raises:
        FileNotFoundError: a root is no folder, or no object lies below a bucket's prefix.
        OSError: a bucket cannot be listed.
    """
    unreadable: list[str] = []
    files: dict[str, SourceFile] = {}
    for root in roots:
        for file in videos_below(root, unreadable):
            files.setdefault(file.location, file)
    return list(files.values()), unreadable


def videos_below(root: SourcePath, unreadable: list[str]) -> Iterator[SourceFile]:
    """Video files below one root; what cannot be listed or asked is added to `unreadable`.

    Raises:
        As `find_videos`.
    """
    if isinstance(root, BucketPath):
        return _objects_below(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder")
    return _walk(root.resolve(), unreadable)


def _objects_below(root: BucketPath) -> Iterator[SourceFile]:
    above = f"{root}/"
    is_empty = True
    for found in list_objects(root):
        is_empty = False
        location = str(found.path)
        relative = location.removeprefix(above)
        if _is_video(relative) and not any(part.startswith(".") for part in relative.split("/")):
            told = (found.size_bytes, found.modified_ns)
            yield SourceFile(location, root, *told, location, relative, _identity(relative))
    if is_empty and root.key:
        raise FileNotFoundError(f"{root} is no folder: no object lies there")


def _walk(root: Path, unreadable: list[str]) -> Iterator[SourceFile]:
    entered: set[tuple[int, int]] = set()
    stored_root = storable(str(root)).rstrip("/") + "/"

    def note(error: OSError) -> None:
        unreadable.append(storable(str(error.filename)))

    for folder, folder_names, file_names in os.walk(root, onerror=note, followlinks=True):
        status = _status(folder, note)
        if status is None or (status.st_dev, status.st_ino) in entered:
            folder_names.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        # True folders before links, so that a folder is known by its own name and not by a link's.
        visible = [name for name in folder_names if not name.startswith(".")]
        folder_names[:] = sorted(visible, key=lambda name: (Path(folder, name).is_symlink(), name))
        above = folder if folder.endswith("/") else folder + "/"
        for name in sorted(file_names):
            if not name.startswith(".") and _is_video(name):
                status = _status(above + name, note)
                if status is not None:
                    yield _found(above + name, root, len(stored_root), status)


def _status(location: str, note: Callable[[OSError], None]) -> os.stat_result | None:
    try:
        return os.stat(location)  # noqa: PTH116  (text, see `SourceFile.location`)
    except FileNotFoundError:  # a dangling link, or gone since it was listed
        return None
    except OSError as error:
        note(error)
        return None


def _found(location: str, root: Path, root_length: int, status: os.stat_result) -> SourceFile:
    stored = storable(location)
    relative = stored[root_length:]
    size_bytes, modified_ns = status.st_size, status.st_mtime_ns
    return SourceFile(location, root, size_bytes, modified_ns, stored, relative, _identity(relative))


def _is_video(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _identity(relative: str) -> str:
    """The first folder below the root; of a file right in the root its own stem."""
    first, slash, _ = relative.partition("/")
    return first if slash else PurePosixPath(first).stem
