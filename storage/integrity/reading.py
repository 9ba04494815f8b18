"""Read published files again and compare their sha256 with the manifests: all files, or a share a night.

The share of a night is chosen by the files' paths and the day, so that a share of 1/N covers every file
within N days. What was read is recorded under the root every few seconds; a run that is killed goes on from
there.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from itertools import islice
from time import monotonic
from typing import Any, Final

from upath import UPath

from storage.integrity.faults import NOTHING, Fault, Kind, sha256_text
from storage.integrity.sealed_json import read_sealed, sealed
from storage.objects import read_bytes, read_sha256, remove_file, write_bytes

PROGRESS_LOCATION: Final = "operations/verify_progress.json"
SAVE_SECONDS: Final = 5.0
FILES_AT_ONCE: Final = 64


@dataclass(frozen=True)
class Night:
    """The share of files to read: those whose number modulo `nights` is `number`."""

    nights: int
    number: int

    @staticmethod
    def of(share: float, day: date | None = None) -> "Night":
        """The share of a day.

        Raises:
            ValueError: the share is not in (0, 1].
        """
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        nights = math.ceil(1.0 / share - 1e-9)
        return Night(nights, (day or datetime.now(UTC).date()).toordinal() % nights)

    def has(self, path: str) -> bool:
        """Whether a file is read in this night."""
        digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.nights == self.number


@dataclass(frozen=True)
class Expectation:
    """A file and what it must hold.

    Attributes:
        path: As in faults, and by which files are sorted.
        read: Computes its sha256.
        build: Location of the build that it belongs to; empty: none.
        mend: The command that mends it; empty: that of `Fault`.
    """

    path: str
    sha256: str
    size_bytes: int
    kind: Kind
    read: Callable[[], str]
    build: str = ""
    mend: str = ""
    affects: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataRead:
    """What was read, and what was wrong."""

    files: int
    size_bytes: int
    seconds: float
    resumed_files: int  # read by an earlier run that was interrupted
    faults: tuple[Fault, ...]


@dataclass
class _Progress:
    nights: int
    number: int
    after: str = ""  # the last file of those read, in their order
    files: int = 0
    size_bytes: int = 0
    wrong: Sequence[str] = ()  # paths with faults so far: they are read again


def expect_object(root: UPath, path: str, sha256: str, size_bytes: int, build: str = "") -> Expectation:
    """A file below the root."""
    return Expectation(path, sha256, size_bytes, "file", lambda: read_sha256(root / path), build)


def read_data(
    root: UPath,
    expectations: Iterable[Expectation],
    night: Night,
    *,
    threads: int,
    save_seconds: float = SAVE_SECONDS,
    files_at_once: int = FILES_AT_ONCE,
    on_progress: Callable[[int, int], None] = lambda _, __: None,
) -> DataRead:
    """Read the files of a night and compare them.

    Goes on with an interrupted run of the same number of nights, whichever night that was.

    Args:
        root: where the progress is recorded.
        expectations: every file; those of other nights are left out here.
        night: which files.
        threads: files read at once.
        save_seconds: between two records of the progress.
        files_at_once: read ahead of the recorded progress.
        on_progress: called with files and bytes read so far.
    """
    progress = _load(root, night)
    chosen = sorted(
        (each for each in expectations if Night(progress.nights, progress.number).has(each.path)),
        key=lambda each: each.path,
    )
    again = [each for each in chosen if each.path <= progress.after and each.path in progress.wrong]
    rest = [each for each in chosen if each.path > progress.after]
    resumed, started, saved = progress.files, monotonic(), monotonic()
    faults: list[Fault] = []
    with ThreadPoolExecutor(threads) as pool:
        for each, fault in _checked(pool, [*again, *rest], files_at_once):
            faults += [fault] if fault else []
            if each.path > progress.after:
                progress.after, progress.files = each.path, progress.files + 1
                progress.size_bytes += each.size_bytes
            if monotonic() - saved >= save_seconds:
                progress.wrong = [found.path for found in faults]
                _save(root, progress)
                on_progress(progress.files, progress.size_bytes)
                saved = monotonic()
    remove_file(root, PROGRESS_LOCATION)
    return DataRead(progress.files, progress.size_bytes, monotonic() - started, resumed, tuple(faults))


def forget_progress(root: UPath) -> None:
    """Start the next run from its first file."""
    remove_file(root, PROGRESS_LOCATION)


def _checked(
    pool: ThreadPoolExecutor, expectations: Sequence[Expectation], files_at_once: int
) -> Iterator[tuple[Expectation, Fault | None]]:
    """In order; a few files ahead, so that an interruption loses little."""
    waiting = iter(expectations)
    while group := list(islice(waiting, files_at_once)):
        yield from zip(group, pool.map(_check, group), strict=True)


def _check(expectation: Expectation) -> Fault | None:
    try:
        found = expectation.read()
        shown = sha256_text(found)
    except FileNotFoundError:
        found, shown = "", NOTHING
    except OSError as error:  # a bad sector, a share that is gone
        found, shown = "", f"it cannot be read: {error.strerror or error}"
    if found == expectation.sha256:
        return None
    expected = sha256_text(expectation.sha256)
    fault = Fault(expectation.kind, expectation.path, expected, shown, build=expectation.build)
    if expectation.mend:
        fault = Fault(expectation.kind, expectation.path, expected, shown, expectation.mend)
    return fault.affecting(expectation.affects)


def _load(root: UPath, night: Night) -> _Progress:
    try:
        values: dict[str, Any] = read_sealed(read_bytes(root / PROGRESS_LOCATION).decode())
        progress = _Progress(**values)
    except (FileNotFoundError, ValueError, TypeError):
        return _Progress(night.nights, night.number)  # none, or one that cannot be trusted
    return progress if progress.nights == night.nights else _Progress(night.nights, night.number)


def _save(root: UPath, progress: _Progress) -> None:
    write_bytes(root / PROGRESS_LOCATION, json.dumps(sealed(asdict(progress)), indent=1).encode())
