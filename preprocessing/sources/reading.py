"""Read one listed file for the catalog: its hash and facts, or why it is refused. For worker processes."""

import hashlib
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from preprocessing.media.container import RefusedVideo, failure
from preprocessing.process_pool import CRASHED
from preprocessing.sources.catalog import ACCEPTED, FAILED, REFUSED, CatalogRow
from preprocessing.sources.discovery import SourceFile
from preprocessing.sources.local_files import check_is_file, hash_file
from preprocessing.sources.probe import PROBE_VERSION, ProbeSettings, SourceFacts, probe
from preprocessing.sources.remote import fetched
from preprocessing.worker_limits import OUT_OF_MEMORY, TOO_SLOW
from storage.printable import printable

# Reasons that may be transient and do not depend on the content: such a file is read again by every scan.
TRANSIENT_REASONS: Final = frozenset({"not_accessible", "still_changing", "source_missing"})
# Reasons that do not judge the content either: read again when asked for, or with other settings.
FAILED_REASONS: Final = frozenset({FAILED, CRASHED, OUT_OF_MEMORY, TOO_SLOW})


@dataclass(frozen=True)
class ReadTask:
    """A file to hash and probe."""

    file: SourceFile
    known: (
        CatalogRow | None
    )  # at this path: its hash counts while size and time do, its batch while the content does
    settings: ProbeSettings
    scratch: Path  # for the copy of an object


@dataclass(frozen=True)
class FileRead:
    """The file's row."""

    row: CatalogRow
    trace: str = ""  # of an exception that nothing foresees


def read_file(task: ReadTask) -> FileRead:
    """Hash and probe one file. Whatever is wrong with it becomes the row's reason.

    An exception that nothing foresees is a row too, of status `failed`, with its trace.
    """
    digest, trace = "", ""
    try:
        _check_name(task.file)
        with _open_unchanged(task.file, task.scratch) as path:
            digest = known_digest(task.file, task.known) or hash_file(path)
            return FileRead(_row(task, digest, probe(path, task.settings)))
    except RefusedVideo as refusal:
        reason, detail = refusal.reason, refusal.detail
    except MemoryError as error:
        reason = OUT_OF_MEMORY
        detail = f"{failure(error)}; its process may take {task.settings.worker.memory_mebibytes} MiB"
    except OSError as error:
        reason, detail = "not_accessible", f"{type(error).__name__}: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001  (the one place of the scan: a file must not end the reading of all others)
        reason, detail, trace = FAILED, failure(error), traceback.format_exc()
    return FileRead(refused_row(task, reason, detail, digest), trace)


def refused_row(task: ReadTask, reason: str, detail: str, digest: str = "") -> CatalogRow:
    """The row of a file that is not accepted."""
    return _row(task, digest or known_digest(task.file, task.known), None, reason, detail)


def _row(
    task: ReadTask, digest: str, facts: SourceFacts | None, reason: str = "", detail: str = ""
) -> CatalogRow:
    file, known = task.file, task.known
    same_content = known is not None and known.sha256 == digest
    return CatalogRow(
        video_id=digest[:16],
        sha256=digest,
        path=file.stored_path,
        relative_path=file.relative_path,
        root=str(file.root),
        identity=file.identity,
        size_bytes=file.size_bytes,
        modified_ns=file.modified_ns,
        present=True,
        status=ACCEPTED if facts is not None else FAILED if reason in FAILED_REASONS else REFUSED,
        reason=reason,
        detail=printable(detail),
        batch=known.batch if known is not None and same_content else None,
        probe_key=probe_key_of(task.settings),
        facts=facts,
    )


def probe_key_of(settings: ProbeSettings) -> str:
    """Version and settings of the probe; files with another key in their row are probed again, not hashed."""
    return f"{PROBE_VERSION}:{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"


def known_digest(file: SourceFile, known: CatalogRow | None) -> str:
    """The hash of a file that has not changed since its row was written; empty if it may have."""
    if known is None or known.reason in TRANSIENT_REASONS:
        return ""
    is_same = (file.size_bytes, file.modified_ns) == (known.size_bytes, known.modified_ns)
    return known.sha256 if is_same else ""


def _check_name(file: SourceFile) -> None:
    if not file.has_utf8_name:
        raise RefusedVideo("name_not_utf8", "the path is not UTF-8, which the catalog needs; rename the file")


@contextmanager
def _open_unchanged(file: SourceFile, scratch: Path) -> Generator[Path, None, None]:
    """The file, or a copy of the object; raises RefusedVideo if it is not the one that was listed."""
    source = file.path
    if isinstance(source, Path):
        check_is_file(source)
        yield source
        status = source.stat()
        if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.modified_ns):
            raise RefusedVideo("still_changing", "the file changed while being read")
        return
    with fetched(source, scratch / f"source{source.suffix}") as (copy, fetched_object):
        # Listings have milliseconds, an object's headers whole seconds.
        same_second = fetched_object.modified_ns // 10**9 == file.modified_ns // 10**9
        if fetched_object.size_bytes != file.size_bytes or not same_second:
            raise RefusedVideo("still_changing", "the object was replaced since it was listed")
        yield copy
