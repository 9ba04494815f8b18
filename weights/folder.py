"""The folder of outside weights: `<folder>/<name>/<file>`, found again and held against what is known of it.

A folder that somebody copied there works without any network. Beside a set's files lies `record.json`: what
was fetched from where, and of files whose digest nobody published, the digest of the first that was used.
"""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from storage.atomic import write_atomically
from storage.build_directory import building_lock
from storage.fingerprint import file_sha256
from weights.licences import may_write, require_acceptance
from weights.rows import FileRow, WeightsRow

WEIGHTS_VARIABLE: Final = "PDFGC_WEIGHTS"
RECORD_NAME: Final = "record.json"
SNIFFED_BYTES: Final = 512
ZIP_START: Final = b"PK\x03\x04"  # of a zip that holds anything
MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class FoundFile:
    """A file that is what it should be."""

    name: str
    path: Path
    sha256: str  # 64 hex digits
    size_bytes: int
    trusted: Literal["list", "first use"]  # what its digest was held against


@dataclass(frozen=True)
class FileMemory:
    """What `record.json` keeps of a file."""

    sha256: str
    size_bytes: int
    source: str  # URL or path that it was fetched from, or "found in the folder"
    recorded_at: str  # ISO 8601, UTC


def weights_folder() -> Path:
    """The variable PDFGC_WEIGHTS, else `pdfgc/weights` in the user's cache."""
    told = os.environ.get(WEIGHTS_VARIABLE)
    if told:
        return Path(told).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("pdfgc") / "weights"


def find_file(row: WeightsRow, file: FileRow, folder: Path) -> FoundFile:
    """A file of a set, held against the list, or against the first one that was used.

    Args:
        row: the set.
        file: one of its files.
        folder: that holds the sets' folders.

    Raises:
        FileNotFoundError: it is not there; what, from where, on which terms, into which folder, by which
            command.
        ValueError: the licence was not accepted, or the file is not what it should be.
    """
    path = lying_file(row, file, folder)
    if path is None:
        raise FileNotFoundError(missing_message(row, [file], folder))
    require_acceptance(row, folder)
    return examine(row, file, path, folder)


def find_files(row: WeightsRow, folder: Path) -> tuple[FoundFile, ...]:
    """Every file of a set, as `find_file`; what is missing is told of all at once."""
    missing = [file for file in row.files if lying_file(row, file, folder) is None]
    if missing:
        raise FileNotFoundError(missing_message(row, missing, folder))
    return tuple(find_file(row, file, folder) for file in row.files)


def lying_file(row: WeightsRow, file: FileRow, folder: Path) -> Path | None:
    """Where a file lies, under one of its names; None where it does not. It is not looked into."""
    for name in (file.name, *file.other_names):
        if (path := folder / row.name / name).is_file():
            return path
    return None


def examine(row: WeightsRow, file: FileRow, path: Path, folder: Path) -> FoundFile:
    """Hold a file that is there against what is known of it; what is not known is remembered now.

    Raises:
        ValueError: it is a web page, cut short, or another file.
    """
    way_out = f"remove it and run: pdfgc weights fetch {row.name}"
    found = check_content(row, file, path, folder, str(path), way_out)
    if file.name not in read_record(row, folder) and may_write(folder / row.name):
        remember(row, folder, file, found, "found in the folder")
    return found


def check_content(
    row: WeightsRow, file: FileRow, path: Path, folder: Path, called: str, way_out: str
) -> FoundFile:
    """As `examine`, and nothing is remembered.

    Args:
        row: the set.
        file: what it should be.
        path: what is read.
        folder: that holds the sets' folders, for what is remembered.
        called: what an error calls it.
        way_out: ends an error.
    """
    with path.open("rb") as opened:
        refuse_web_page(opened.read(SNIFFED_BYTES), called, way_out)
    size_bytes = path.stat().st_size
    if file.size_bytes is not None and size_bytes != file.size_bytes:
        cut = "cut short or " if size_bytes < file.size_bytes else ""
        raise ValueError(
            f"{called} is {cut}not {row.name}'s {file.name}: it has {size_bytes} bytes, should have "
            f"{file.size_bytes}; {way_out}"
        )
    refuse_cut_zip(path, called, way_out)  # before its digest is kept as that of the first one used
    sha256 = remembered_sha256(path)
    if file.sha256 is not None and sha256 != file.sha256:
        raise ValueError(
            f"{called} is not {row.name}'s {file.name}: its sha256 is {sha256}, should be {file.sha256}; "
            f"{way_out}"
        )
    memory = None if file.sha256 is not None else read_record(row, folder).get(file.name)
    if memory is not None and sha256 != memory.sha256:
        raise ValueError(
            f"{called} is another {file.name} than the one first used on {memory.recorded_at[:10]}: its "
            f"sha256 is {sha256}, was {memory.sha256}; {way_out}, or, if the change is meant, remove "
            f"{record_path(row, folder)}"
        )
    trusted = "first use" if file.sha256 is None else "list"
    return FoundFile(file.name, path, sha256, size_bytes, trusted)


def refuse_web_page(first_bytes: bytes, where: str, way_out: str) -> None:
    """Tell a page (a login, a form, an error) that was saved in the place of weights.

    Raises:
        ValueError: it is one.
    """
    if first_bytes.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":  # no file of weights begins so
        raise ValueError(
            f"{where} is a web page, not weights (a login or a form stands before them?): {way_out}"
        )


def refuse_cut_zip(path: Path, where: str, way_out: str) -> None:
    """Tell a zip without its end: what torch saves is one, and so are task files.

    Raises:
        ValueError: it is one.
    """
    with path.open("rb") as opened:
        begins_as_zip = opened.read(len(ZIP_START)) == ZIP_START
    if begins_as_zip and not zipfile.is_zipfile(path):
        raise ValueError(f"{where} is cut short: it begins as a zip and does not end as one; {way_out}")


def record_path(row: WeightsRow, folder: Path) -> Path:
    """Where a set's `record.json` lies."""
    return folder / row.name / RECORD_NAME


def read_record(row: WeightsRow, folder: Path) -> dict[str, FileMemory]:
    """What is remembered of a set's files, by name.

    Raises:
        ValueError: `record.json` cannot be read.
    """
    path = record_path(row, folder)
    try:
        told = json.loads(path.read_text("utf-8"))
        return {name: FileMemory(**memory) for name, memory in told.items()}
    except FileNotFoundError:
        return {}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no record of weights ({error}); remove it") from error


def remember(row: WeightsRow, folder: Path, file: FileRow, found: FoundFile, source: str) -> None:
    """Write into `record.json` what a file is and where it came from."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with building_lock(record_path(row, folder)):
        memories = read_record(row, folder)
        memories[file.name] = FileMemory(found.sha256, found.size_bytes, source, now)
        values = {name: asdict(memory) for name, memory in sorted(memories.items())}
        with write_atomically(record_path(row, folder)) as partial:
            partial.write_text(json.dumps(values, indent=1), "utf-8")


def missing_message(row: WeightsRow, files: Sequence[FileRow], folder: Path) -> str:
    """The one line of weights that are not there."""
    names = ", ".join(file.name for file in files)
    sizes = [file.size_bytes for file in files]
    known = [size for size in sizes if size is not None]
    size = f", {sum(known) / MEGABYTE:.0f} MB" if len(known) == len(sizes) else ""
    licence = row.licence
    flag = "" if licence.commercial == "yes" else f" --accept-licence {row.name}"
    archive = row.archive
    if row.by_hand:
        what = names if archive is None else archive.name
        way = f"get {what} at {row.page} and run: pdfgc weights fetch {row.name} --from {what}{flag}"
    else:
        urls = [archive.url] if archive is not None else [file.url for file in files]
        source = " ".join(url for url in urls if url is not None) or row.page
        way = f"run: pdfgc weights fetch {row.name}{flag} (from {source})"
    return (
        f"{row.name} is missing: no {names} in {folder / row.name}{size}; licence {licence.name} "
        f"({licence.link}), commercial use: {licence.commercial}; {way}"
    )


def remembered_sha256(path: Path) -> str:
    """sha256, 64 hex digits, of a file; read once a process as long as nobody touches the file."""
    stat = path.stat()
    return _sha256_as_it_lies(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=64)
def _sha256_as_it_lies(path: Path, _size_bytes: int, _changed_ns: int, _inode: int) -> str:
    return file_sha256(path)
