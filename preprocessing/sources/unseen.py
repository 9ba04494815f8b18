"""Whether new videos lie under the folders: only listed and compared with the catalog, none opened.

A sensor asks this every minute or so; the scan (`source_videos`) then reads what is new.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field
from upath import UPath

from preprocessing.sources.discovery import SourceFile, videos_below
from preprocessing.sources.remote import SourcePath
from preprocessing.sources.scan import PASSING_REASONS, is_settled
from preprocessing.sources.stored_catalog import load_catalog, wanted_folders
from storage.settings import Settings


class UnseenSettings(Settings):
    """When a file counts as new, and how much is told of it."""

    settle_seconds: int = Field(
        default=60,
        ge=0,
        description="Skip files modified more recently than this: they may still be uploading",
    )
    names_told: int = Field(default=5, ge=0, description="Number of new files listed by name")


@dataclass(frozen=True)
class UnseenFiles:
    """What a scan would read, as far as a listing tells."""

    settled: int  # files that the catalog does not know so, and that no one is writing
    fresh: int  # the same, but changed within `settle_seconds`
    digest: str  # sha256, 64 hex digits, of the settled ones' path, size and modification time; "" for none
    names: tuple[str, ...]  # the first of the settled ones, by path
    unreadable_folders: tuple[str, ...]  # folders that could not be read, with the reason where one is told


def unseen_files(root: UPath, folders: Sequence[SourcePath], settings: UnseenSettings) -> UnseenFiles:
    """Look for video files that the catalog does not know by this path, size and modification time.

    Files that were refused for a reason of the moment (`catalog.PASSING_REASONS`) count as unseen, since a
    scan reads them again. Known files that are gone, or that a changed probe would judge anew, do not count.

    Args:
        root: where the catalog lies.
        folders: as for `source_videos.scan_sources`; those that were scanned before are looked at too.
        settings: how.

    Returns:
        Counts, and the folders that are away: those never raise.
    """
    known = load_catalog(root)
    unreadable: list[str] = []
    now_ns = time.time_ns()
    settled: dict[str, SourceFile] = {}
    fresh: set[str] = set()
    seen = _seen(known)
    for folder in wanted_folders(known, folders):
        try:
            for file in videos_below(folder, unreadable):
                if seen.get(file.stored_path) == (file.size_bytes, file.modified_ns):
                    continue
                if is_settled(file, settings.settle_seconds, now_ns):
                    settled[file.stored_path] = file
                else:
                    fresh.add(file.stored_path)
        except (OSError, ValueError) as error:  # the second: a bucket's endpoint that may not be used
            unreadable.append(str(error))
    paths = sorted(settled)
    return UnseenFiles(
        settled=len(settled),
        fresh=len(fresh),
        digest=_digest([settled[path] for path in paths]),
        names=tuple(paths[: settings.names_told]),
        unreadable_folders=tuple(unreadable),
    )


def _seen(catalog: pa.Table | None) -> dict[str, tuple[int, int]]:
    """Size and modification time by path, as the scan compares them."""
    if catalog is None:
        return {}
    # Two rows may share a path, if the file's content changed: the one that is there counts.
    rows = catalog.select(["path", "size_bytes", "modified_ns", "reason", "present"]).sort_by("present")
    columns = [rows[name].to_pylist() for name in ("path", "size_bytes", "modified_ns", "reason")]
    return {
        path: (size_bytes, modified_ns) if reason not in PASSING_REASONS else (-1, -1)
        for path, size_bytes, modified_ns, reason in zip(*columns, strict=True)
    }


def _digest(files: Sequence[SourceFile]) -> str:
    if not files:
        return ""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.stored_path}\0{file.size_bytes}\0{file.modified_ns}\0".encode())
    return digest.hexdigest()
