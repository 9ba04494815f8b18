"""Find video files in folders and buckets, and the identity of each."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from preprocessing.media.container import VIDEO_SUFFIXES
from preprocessing.sources.remote import BucketPath, SourcePath, list_objects, source_path

SUFFIXES: Final = tuple(sorted(VIDEO_SUFFIXES))
NO_ENDING: Final = "no ending"
HIDDEN: Final = "hidden"  # files and whole folders
DANGLING: Final = "link to nothing"


@dataclass(frozen=True)
class SourceFile:
    """A video file as listed by the file system or the bucket, not opened."""

    location: str  # absolute path, or s3://bucket/key; text, since building a `Path` costs more than listing
    root: SourcePath  # absolute
    size_bytes: int
    modified_ns: int
    stored_path: str  # the location as UTF-8 text for the catalog: see `storable`
    relative_path: str  # below the root, forward slashes
    identity: str  # the first folder below the root; the stem of a file directly in the root

    @property
    def path(self) -> SourcePath:
        """The path to read it from."""
        return Path(self.location) if isinstance(self.root, Path) else source_path(self.location)

    @property
    def has_utf8_name(self) -> bool:
        """Whether the path is valid UTF-8."""
        return self.stored_path == self.location


class Listing(NamedTuple):
    """What folders and buckets contain."""

    files: list[SourceFile]  # videos, by their ending
    unreadable: list[str]  # folders and files that could not be listed or stat'ed
    others: dict[str, int]  # number of all other files by ending, or by `NO_ENDING`, `HIDDEN`, `DANGLING`


def storable(text: str) -> str:
    r"""A name from the file system as UTF-8 text; undecodable bytes become ``\\xNN``."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def identity_slug(identity: str) -> str:
    """ASCII key of an identity: lower-case letters, digits, ``-``, then 8 hex digits of its hash.

    The hash tells names apart that are equal in ASCII; a name composed differently in Unicode
    (as on macOS) gives the same key. Matches `schema.KEY_PATTERN`; at most 41 characters.
    """
    composed = unicodedata.normalize("NFC", identity)
    ascii_only = unicodedata.normalize("NFKD", composed).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:32].rstrip("-")
    digest = hashlib.sha256(composed.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{words}-{digest}" if words else digest


def find_videos(roots: Sequence[SourcePath]) -> Listing:
    """List video files below `roots`, by suffix, in a fixed order, each path once; no file is opened.

    Hidden files and folders are skipped. Links to folders are followed; each folder is entered once,
    so that loops end. All other files are counted by their ending, those below nested roots once a root.

    Raises:
        FileNotFoundError: a root is not a folder, or there is no object below a bucket's prefix.
        OSError: a bucket cannot be listed.
    """
    unreadable: list[str] = []
    others: Counter[str] = Counter()
    files: dict[str, SourceFile] = {}
    for root in roots:
        for file in videos_below(root, unreadable, others):
            files.setdefault(file.location, file)
    return Listing(
        list(files.values()), unreadable, {ending: count for ending, count in sorted(others.items()) if count}
    )


def videos_below(
    root: SourcePath, unreadable: list[str], others: Counter[str] | None = None
) -> Iterator[SourceFile]:
    """Video files below one root.

    What cannot be listed or stat'ed is added to `unreadable`, what is no video is counted in `others`.

    Raises:
        As `find_videos`.
    """
    counted = Counter[str]() if others is None else others
    if isinstance(root, BucketPath):
        return _objects_below(root, counted)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder")
    return _walk(root.resolve(), unreadable, counted)


def _objects_below(root: BucketPath, others: Counter[str]) -> Iterator[SourceFile]:
    above = f"{root}/"
    is_empty = True
    for listed in list_objects(root):
        is_empty = False
        location = str(listed.path)
        relative = location.removeprefix(above)
        if any(part.startswith(".") for part in relative.split("/")):
            others[HIDDEN] += 1
        elif not _is_video(relative):
            others[ending_of(relative)] += 1
        else:
            size_bytes, modified_ns = listed.size_bytes, listed.modified_ns
            yield SourceFile(
                location, root, size_bytes, modified_ns, location, relative, identity_of(relative)
            )
    if is_empty and root.key:
        raise FileNotFoundError(f"{root} is empty: no object has this prefix")


def _walk(root: Path, unreadable: list[str], others: Counter[str]) -> Iterator[SourceFile]:
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
        # Folders before links, so that a folder is listed under its own name and not under a link's.
        visible = [name for name in folder_names if not name.startswith(".")]
        others[HIDDEN] += len(folder_names) - len(visible)
        folder_names[:] = sorted(visible, key=lambda name: (Path(folder, name).is_symlink(), name))
        above = folder if folder.endswith("/") else folder + "/"
        for name in sorted(file_names):
            if name.startswith("."):
                others[HIDDEN] += 1
            elif not _is_video(name):
                others[ending_of(name)] += 1
            elif (status := _status(above + name, note)) is not None:
                yield _local_file(above + name, root, len(stored_root), status)
            elif Path(above + name).is_symlink():
                others[DANGLING] += 1


def _status(location: str, note: Callable[[OSError], None]) -> os.stat_result | None:
    try:
        return os.stat(location)  # noqa: PTH116  (text, see `SourceFile.location`)
    except FileNotFoundError:  # a dangling link, or removed since it was listed
        return None
    except OSError as error:
        note(error)
        return None


def _local_file(location: str, root: Path, root_length: int, status: os.stat_result) -> SourceFile:
    stored = storable(location)
    relative = stored[root_length:]
    size_bytes, modified_ns = status.st_size, status.st_mtime_ns
    return SourceFile(location, root, size_bytes, modified_ns, stored, relative, identity_of(relative))


def ending_of(name: str) -> str:
    """Ending of a file's name with its dot, in lower case and UTF-8, or `NO_ENDING`."""
    return storable(PurePosixPath(name).suffix.lower()) or NO_ENDING


def _is_video(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def identity_of(relative: str) -> str:
    """The first folder below the root; the stem of a file directly in the root."""
    first, slash, _ = relative.partition("/")
    return first if slash else PurePosixPath(first).stem
