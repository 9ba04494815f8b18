"""The folder of pretrained weights: `<folder>/<name>/<file>`, verified before use.

Files copied there by hand work without any network. `<folder>/<name>/record.json` says where each file came
from, and holds the sha256 of files whose digest the catalog does not know: the first one used is trusted, and
later ones must equal it.
"""

import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from storage.atomic import write_atomically
from storage.build_directory import building_lock
from storage.fingerprint import file_sha256
from weights.catalog import ALL_WEIGHTS, PretrainedWeights, WeightsFile
from weights.licences import is_writable, require_acceptance

WEIGHTS_VARIABLE: Final = "PDFGC_WEIGHTS"
RECORD_NAME: Final = "record.json"
SNIFFED_BYTES: Final = 512
ZIP_MAGIC: Final = b"PK\x03\x04"
MEGABYTE: Final = 1_000_000

FetchProgress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes received and its size in bytes (None: unknown)."""
OverviewRow = dict[str, str | int | None]


@dataclass(frozen=True)
class VerifiedFile:
    """A file whose content was verified."""

    name: str
    path: Path
    sha256: str  # 64 hex digits
    size_bytes: int
    trusted: Literal["catalog", "first use"]  # where the expected digest comes from


@dataclass(frozen=True)
class RecordedFile:
    """A file's entry in `record.json`."""

    sha256: str
    size_bytes: int
    source: str  # URL or path it was fetched from, or FOUND
    recorded_at: str  # ISO 8601, UTC


FOUND: Final = "found in the folder"


def weights_folder() -> Path:
    """PDFGC_WEIGHTS if set, else `pdfgc/weights` in the user's cache."""
    value = os.environ.get(WEIGHTS_VARIABLE)
    if value:
        return Path(value).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("pdfgc") / "weights"


def find_files(
    weights: PretrainedWeights, folder: Path, files: Sequence[WeightsFile] | None = None
) -> tuple[VerifiedFile, ...]:
    """Files of one entry of the catalog, verified.

    Args:
        weights: entry of the catalog.
        folder: root of the weights folders.
        files: which of its files; default all.

    Raises:
        FileNotFoundError: files are missing; one line with all of them, their source, licence and the command
            that fetches them.
        ValueError: the licence was not accepted, or a file is not the expected one.
    """
    files = weights.files if files is None else files
    paths = [locate(weights, file, folder) for file in files]
    missing = [file for file, path in zip(files, paths, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(missing_message(weights, missing, folder))
    require_acceptance(weights, folder)
    pairs = zip(files, paths, strict=True)
    return tuple(verify_file(weights, file, path, folder) for file, path in pairs if path is not None)


def locate(weights: PretrainedWeights, file: WeightsFile, folder: Path) -> Path | None:
    """Path of a file under any of its names; None if there is none. The file is not read."""
    for name in (file.name, *file.other_names):
        if (path := folder / weights.name / name).is_file():
            return path
    return None


def verify_file(weights: PretrainedWeights, file: WeightsFile, path: Path, folder: Path) -> VerifiedFile:
    """Verify a file in the folder, and record its digest if it has no record yet.

    Raises:
        ValueError: the file is a web page, truncated, or not the expected one.
    """
    fix = f"remove it and run: pdfgc weights fetch {weights.name}"
    verified = verify_content(weights, file, path, folder, str(path), fix)
    if file.name not in read_record(weights, folder) and is_writable(folder / weights.name):
        record_file(weights, folder, verified, FOUND)
    return verified


def verify_content(
    weights: PretrainedWeights, file: WeightsFile, path: Path, folder: Path, source: str, fix: str
) -> VerifiedFile:
    """`verify_file` without recording.

    Args:
        weights: entry of the catalog.
        file: the expected file.
        path: what is read.
        folder: root of the weights folders, for the recorded digest.
        source: name of the file in errors.
        fix: end of every error message.
    """
    with path.open("rb") as opened:
        refuse_web_page(opened.read(SNIFFED_BYTES), source, fix)
    size_bytes = path.stat().st_size
    if file.size_bytes is not None and size_bytes != file.size_bytes:
        truncated = "truncated or " if size_bytes < file.size_bytes else ""
        raise ValueError(
            f"{source} is {truncated}not {weights.name}'s {file.name}: it has {size_bytes} bytes, expected "
            f"{file.size_bytes}; {fix}"
        )
    refuse_truncated_zip(path, source, fix)  # before its digest is recorded as that of the first use
    sha256 = cached_sha256(path)
    if file.sha256 is not None and sha256 != file.sha256:
        raise ValueError(
            f"{source} is not {weights.name}'s {file.name}: its sha256 is {sha256}, expected {file.sha256}; "
            f"{fix}"
        )
    if file.sha256_start is not None and not sha256.startswith(file.sha256_start):
        raise ValueError(
            f"{source} is not {weights.name}'s {file.name}: its sha256 is {sha256}, expected one that starts "
            f"with {file.sha256_start}; {fix}"
        )
    recorded = None if file.sha256 is not None else read_record(weights, folder).get(file.name)
    if recorded is not None and sha256 != recorded.sha256:
        raise ValueError(
            f"{source} differs from the {file.name} first used on {recorded.recorded_at[:10]}: its sha256 is "
            f"{sha256}, expected {recorded.sha256}; {fix}, or, if the change is intended, remove "
            f"{record_path(weights, folder)}"
        )
    trusted = "first use" if file.sha256 is None else "catalog"
    return VerifiedFile(file.name, path, sha256, size_bytes, trusted)


def refuse_web_page(first_bytes: bytes, source: str, fix: str) -> None:
    """Refuse a web page (login, form, error) that was saved in place of weights.

    Raises:
        ValueError: the file starts as HTML or XML.
    """
    if first_bytes.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":  # no weights file starts so
        raise ValueError(f"{source} is a web page, not weights (it may require a login or a form): {fix}")


def refuse_truncated_zip(path: Path, source: str, fix: str) -> None:
    """Refuse a zip without its end; files saved by torch and MediaPipe tasks are zips.

    Raises:
        ValueError: the file starts as a zip and does not end as one.
    """
    with path.open("rb") as opened:
        starts_as_zip = opened.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    if starts_as_zip and not zipfile.is_zipfile(path):
        raise ValueError(f"{source} is truncated: it starts as a zip and does not end as one; {fix}")


def record_path(weights: PretrainedWeights, folder: Path) -> Path:
    """Path of the weights' `record.json`."""
    return folder / weights.name / RECORD_NAME


def read_record(weights: PretrainedWeights, folder: Path) -> dict[str, RecordedFile]:
    """`record.json` by file name; {} if there is none.

    Raises:
        ValueError: it cannot be read.
    """
    path = record_path(weights, folder)
    try:
        entries = json.loads(path.read_text("utf-8"))
        return {name: RecordedFile(**entry) for name, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a record of weights ({error}): remove it") from error


def record_file(weights: PretrainedWeights, folder: Path, file: VerifiedFile, source: str) -> None:
    """Write a file's digest and source into `record.json`."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with building_lock(record_path(weights, folder)):
        entries = read_record(weights, folder)
        entries[file.name] = RecordedFile(file.sha256, file.size_bytes, source, now)
        values = {name: asdict(entry) for name, entry in sorted(entries.items())}
        with write_atomically(record_path(weights, folder)) as partial:
            partial.write_text(json.dumps(values, indent=1), "utf-8")


def missing_message(weights: PretrainedWeights, files: Sequence[WeightsFile], folder: Path) -> str:
    """One line about missing files: where they belong, size, licence, and how to get them."""
    names = ", ".join(file.name for file in files)
    sizes = [file.size_bytes for file in files]
    known = [size for size in sizes if size is not None]
    size = f", {sum(known) / MEGABYTE:.0f} MB" if len(known) == len(sizes) else ""
    licence, archive = weights.licence, weights.archive
    flag = "" if licence.commercial == "yes" else f" --accept-licence {weights.name}"
    if weights.manual_download:
        wanted = names if archive is None else archive.name
        command = f"pdfgc weights fetch {weights.name} --from {wanted}{flag}"
        fix = f"download {wanted} from {weights.page} and run: {command}"
    else:
        urls = [archive.url] if archive is not None else [file.url for file in files]
        source = " ".join(url for url in urls if url is not None) or weights.page
        fix = f"run: pdfgc weights fetch {weights.name}{flag} (from {source})"
    return (
        f"{weights.name} is missing: no {names} in {folder / weights.name}{size}; licence {licence.name} "
        f"({licence.link}), commercial use: {licence.commercial}; {fix}"
    )


def overview() -> tuple[str, list[OverviewRow]]:
    """The folder, and one row for each entry of the catalog. Files are checked by name and size only.

    `state` is "present", "missing", or says which files are missing or of the wrong size.
    """
    return str(weights_folder()), [_overview_row(weights) for weights in ALL_WEIGHTS]


def _overview_row(weights: PretrainedWeights) -> OverviewRow:
    sizes = [file.size_bytes for file in weights.files]
    return {
        "name": weights.name,
        "purpose": weights.purpose,
        "used_by": weights.used_by,
        "files": ", ".join(file.name for file in weights.files),
        "size_bytes": None if None in sizes else sum(size for size in sizes if size is not None),
        "licence": weights.licence.name,
        "licence_link": weights.licence.link,
        "commercial": weights.licence.commercial,
        "page": weights.page,
        "download": "manual" if weights.manual_download else "automatic",
        "state": _state(weights),
    }


def _state(weights: PretrainedWeights) -> str:
    paths = {file.name: locate(weights, file, weights_folder()) for file in weights.files}
    if not any(paths.values()):
        return "missing"
    problems = [f"{name} is missing" for name, path in paths.items() if path is None]
    for file in weights.files:
        path = paths[file.name]
        if path is not None and file.size_bytes is not None and path.stat().st_size != file.size_bytes:
            problems.append(f"{file.name} has {path.stat().st_size} bytes, expected {file.size_bytes}")
    return "; ".join(problems) or "present"


def cached_sha256(path: Path) -> str:
    """sha256 of a file, 64 hex digits; read once per process as long as the file does not change."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=64)
def _sha256(path: Path, _size_bytes: int, _modified_ns: int, _inode: int) -> str:
    return file_sha256(path)
