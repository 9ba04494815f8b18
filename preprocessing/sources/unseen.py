"""Whether there are new videos in the folders: lists files and compares them with the catalog, opens none.

A sensor calls this about every minute; the scan (`source_videos`) then reads the new files.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pydantic import Field
from upath import UPath

from preprocessing.sources.discovery import SourceFile, videos_below
from preprocessing.sources.reading import TRANSIENT_REASONS
from preprocessing.sources.remote import SourcePath
from preprocessing.sources.scan import is_settled
from preprocessing.sources.stored_catalog import folders_to_scan, load_catalog
from storage.settings import Settings


class UnseenSettings(Settings):
    """When a file counts as new, and how many are reported by name."""

    settle_seconds: int = Field(
        default=60,
        ge=0,
        description="Skip files modified more recently than this: they may still be uploading",
    )
    names_shown: int = Field(default=5, ge=0, description="Number of new files listed by name")


@dataclass(frozen=True)
class UnseenFiles:
    """What a scan would read, according to a listing."""

    settled: int  # new or changed files that are not being written
    fresh: int  # the same, but changed within `settle_seconds`
    digest: str  # sha256, 64 hex digits, of the settled ones' path, size and modification time; "" for none
    names: tuple[str, ...]  # of the first settled files, by path
    unreadable_folders: tuple[str, ...]  # folders that could not be read, some with the reason
    folders: int = field(default=0, compare=False)  # that were to be listed


def unseen_files(root: UPath, folders: Sequence[SourcePath], settings: UnseenSettings) -> UnseenFiles:
    """Find video files that are not in the catalog with this path, size and modification time.

    Files that were refused for a transient reason (`reading.TRANSIENT_REASONS`) count as unseen, since a scan
    reads them again. Missing files, and files that a changed probe would probe again, do not count.

    Args:
        root: the storage root.
        folders: as in `stored_catalog.scan_sources`, in addition to those scanned before.
        settings: when a file is settled, and how many to name.

    Returns:
        Counts, and the folders that cannot be read, which do not raise.
    """
    known = load_catalog(root)
    unreadable: list[str] = []
    now_ns = time.time_ns()
    settled: dict[str, SourceFile] = {}
    fresh: set[str] = set()
    cataloged = _cataloged(known)
    listed = folders_to_scan(known, folders)
    for folder in listed:
        try:
            for file in videos_below(folder, unreadable):
                if cataloged.get(file.stored_path) == (file.size_bytes, file.modified_ns):
                    continue
                if is_settled(file, settings.settle_seconds, now_ns):
                    settled[file.stored_path] = file
                else:
                    fresh.add(file.stored_path)
        except (OSError, ValueError) as error:  # ValueError: a bucket's endpoint that may not be used
            unreadable.append(str(error))
    paths = sorted(settled)
    return UnseenFiles(
        settled=len(settled),
        fresh=len(fresh),
        digest=_digest([settled[path] for path in paths]),
        names=tuple(paths[: settings.names_shown]),
        unreadable_folders=tuple(unreadable),
        folders=len(listed),
    )


def _cataloged(catalog: pa.Table | None) -> dict[str, tuple[int, int]]:
    """Size and modification time by path, as the scan compares them; (-1, -1) for transient refusals."""
    if catalog is None:
        return {}
    # If a file's content changed, two rows share its path: the present one counts.
    rows = catalog.select(["path", "size_bytes", "modified_ns", "reason", "present"]).sort_by("present")
    columns = [rows[name].to_pylist() for name in ("path", "size_bytes", "modified_ns", "reason")]
    return {
        path: (size_bytes, modified_ns) if reason not in TRANSIENT_REASONS else (-1, -1)
        for path, size_bytes, modified_ns, reason in zip(*columns, strict=True)
    }


def _digest(files: Sequence[SourceFile]) -> str:
    if not files:
        return ""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.stored_path}\0{file.size_bytes}\0{file.modified_ns}\0".encode())
    return digest.hexdigest()
