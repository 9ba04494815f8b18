"""Fetch pretrained weights into their folder: download, copy or unpack, verify, rename into place."""

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from urllib3 import Retry

from storage.atomic import flush_directory, flush_file
from storage.build_directory import building_lock
from storage.fingerprint import file_sha256
from weights.catalog import PretrainedWeights, WeightsArchive, WeightsFile
from weights.download import RETRY, USE_BROWSER, download, shown_url
from weights.folder import (
    SNIFFED_BYTES,
    FetchProgress,
    VerifiedFile,
    find_files,
    locate,
    missing_message,
    record_file,
    refuse_web_page,
    verify_content,
    verify_file,
)
from weights.licences import require_acceptance

PART_SUFFIX: Final = ".part"
COPY_BYTES: Final = 1 << 20  # copied at a time


@dataclass(frozen=True)
class UnpackLimit:
    """What an archive may hold, far above any of the catalog."""

    file_bytes: int = 16 << 30
    archive_bytes: int = 64 << 30  # unpacked, of a tar, which is read from its start
    members: int = 100_000


UNPACK_LIMIT: Final = UnpackLimit()
ARCHIVE_ERRORS: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
)
"""What reading a damaged or encrypted archive raises."""


def fetch(
    weights: PretrainedWeights,
    folder: Path,
    progress: FetchProgress,
    source: str | None = None,
    retry: Retry = RETRY,
) -> tuple[VerifiedFile, ...]:
    """Bring the missing files of a catalog entry into the folder; existing files are verified and kept.

    Of two concurrent fetches the second waits for the first and finds its files.

    Args:
        weights: entry of the catalog.
        folder: root of the weights folders.
        progress: called after every chunk.
        source: where to take the files from instead of the catalog's URLs: a file, an archive, a folder, or a
            URL (file, http, https).
        retry: of downloads, see `weights.download.download`.

    Raises:
        FileNotFoundError: the files have no URL, or `source` does not exist.
        ConnectionError: a URL could not be reached; received bytes are kept.
        ValueError: the licence was not accepted, or a file is not the expected one.
    """
    require_acceptance(weights, folder)
    home = folder / weights.name
    with building_lock(home):
        missing: list[WeightsFile] = []
        for file in weights.files:
            path = locate(weights, file, folder)
            if path is None:
                missing.append(file)
            else:
                verify_file(weights, file, path, folder)
        if missing:
            home.mkdir(parents=True, exist_ok=True)
            _Fetch(weights, folder, progress, retry).run(missing, source)
    return find_files(weights, folder)


class _Fetch:
    """The fetch of one catalog entry, under its lock."""

    def __init__(
        self, weights: PretrainedWeights, folder: Path, progress: FetchProgress, retry: Retry
    ) -> None:
        self._weights, self._folder, self._home = weights, folder, folder / weights.name
        self._progress, self._retry = progress, retry

    def run(self, missing: Sequence[WeightsFile], source: str | None) -> None:
        if source is None:
            self._from_catalog(missing)
            return
        scheme = urlsplit(source).scheme.lower()
        if scheme in ("http", "https"):
            part = self._home / f"given-{_last_name(source)}{PART_SUFFIX}"
            self._download(source, part, None)
            self._from_file(missing, part, _last_name(source), shown_url(source))
            part.unlink(missing_ok=True)
            return
        path = Path(unquote(urlsplit(source).path) if scheme == "file" else source).expanduser().absolute()
        if path.is_dir():
            self._from_folder(missing, path)
        elif path.is_file():
            self._from_file(missing, path, path.name, str(path))
        else:
            raise FileNotFoundError(f"{self._weights.name}: {path} does not exist")

    def _from_catalog(self, missing: Sequence[WeightsFile]) -> None:
        archive = self._weights.archive
        if archive is not None and archive.url is not None:
            part = self._part(archive)
            self._download(archive.url, part, archive.size_bytes)
            self._check_archive(archive, part)
            self._unpack(missing, part, archive.url)
            part.unlink(missing_ok=True)
            return
        urls = {file.name: file.url for file in missing}
        if None in urls.values():
            raise FileNotFoundError(missing_message(self._weights, missing, self._folder))
        for file in missing:
            url = urls[file.name]
            assert url is not None
            self._download(url, self._part(file), file.size_bytes)
            self._publish([file], url)

    def _from_folder(self, missing: Sequence[WeightsFile], folder: Path) -> None:
        sources: dict[WeightsFile, Path] = {}
        for file in missing:
            for name in _names(file):
                if (folder / name).is_file():
                    sources.setdefault(file, folder / name)
        if absent := [file.name for file in missing if file not in sources]:
            raise FileNotFoundError(f"{self._weights.name}: no {', '.join(absent)} in {folder}")
        for file, path in sources.items():
            self._copy(file, path)
        self._publish(missing, str(folder))

    def _from_file(self, missing: Sequence[WeightsFile], path: Path, name: str, source: str) -> None:
        """Take files from one given file: an archive of them, or one of them itself."""
        with path.open("rb") as opened:
            refuse_web_page(opened.read(SNIFFED_BYTES), source, USE_BROWSER)
        matching = [file for file in missing if name in _names(file)]
        if not matching and self._weights.archive is not None:
            self._unpack(missing, path, source)
            return
        if not matching and len(missing) > 1:
            names = ", ".join(file.name for file in missing)
            raise ValueError(f"{path}: which file of {self._weights.name} is it? Rename it to one of {names}")
        file = (matching or missing)[0]
        self._copy(file, path)
        self._publish([file], source)
        rest = [other for other in missing if other is not file]
        if rest:
            raise FileNotFoundError(
                f"{path} is in place, but {missing_message(self._weights, rest, self._folder)}"
            )

    def _check_archive(self, archive: WeightsArchive, part: Path) -> None:
        if archive.sha256 is None:
            return
        if (sha256 := file_sha256(part)) != archive.sha256:
            part.unlink()
            raise ValueError(
                f"{archive.url} is another file: its sha256 is {sha256}, expected {archive.sha256}; "
                "nothing was changed"
            )

    def _unpack(self, missing: Sequence[WeightsFile], archive: Path, source: str) -> None:
        targets = {name: self._part(file) for file in missing for name in _names(file)}
        _remove(targets.values())  # of a fetch that was killed
        try:
            unpack(archive, targets)
        except ARCHIVE_ERRORS as error:
            _remove(targets.values())
            raise ValueError(f"{source} cannot be unpacked: it is damaged or truncated ({error})") from error
        except ValueError:
            _remove(targets.values())
            raise
        absent = [file.name for file in missing if not self._part(file).is_file()]
        if absent:
            raise ValueError(f"{source} does not contain {', '.join(absent)}")
        self._publish(missing, source)

    def _copy(self, file: WeightsFile, path: Path) -> None:
        size_bytes = path.stat().st_size
        shutil.copyfile(path, self._part(file))
        self._progress(file.name, size_bytes, size_bytes)

    def _download(self, url: str, part: Path, size_bytes: int | None) -> None:
        name = part.name.removesuffix(PART_SUFFIX)
        download(url, part, size_bytes, lambda done, total: self._progress(name, done, total), self._retry)

    def _publish(self, files: Sequence[WeightsFile], source: str) -> None:
        """Verify all files, then rename all: files of one source arrive together or not at all."""
        verified: list[VerifiedFile] = []
        for file in files:
            part = self._part(file)
            try:
                verified.append(
                    verify_content(self._weights, file, part, self._folder, source, "nothing was changed")
                )
            except ValueError:
                for other in files:
                    self._part(other).unlink(missing_ok=True)
                raise
        for file in verified:
            flush_file(file.path)
            file.path.replace(self._home / file.name)
            record_file(self._weights, self._folder, file, source)
        flush_directory(self._home)

    def _part(self, file: WeightsFile | WeightsArchive) -> Path:
        return self._home / f"{file.name}{PART_SUFFIX}"


def unpack(archive: Path, targets: Mapping[str, Path], limit: UnpackLimit = UNPACK_LIMIT) -> None:
    """Extract regular files of certain names, in whatever folder of the archive they are.

    Args:
        archive: zip or tar, compressed or not.
        targets: file name -> where its bytes go. Nothing else is written.
        limit: of what is unpacked.

    Raises:
        ValueError: the file is neither a zip nor a tar, or holds more than the limit.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > limit.members:
                raise ValueError(f"{archive} has {len(members)} members, need at most {limit.members}")
            for member in members:
                target = targets.get(Path(member.filename).name)
                if target is not None and not member.is_dir():
                    with opened.open(member) as content:
                        _extract(content.read, target, limit)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            for count, member in enumerate(opened, start=1):
                # `tarfile` of Python 3.11 loops for ever on a negative size; what is skipped is unpacked too.
                read_bytes = member.offset_data + member.size
                if member.size < 0 or read_bytes > limit.archive_bytes or count > limit.members:
                    raise ValueError(
                        f"{archive}: member {count} ends at byte {read_bytes}, need at most "
                        f"{limit.archive_bytes} bytes in {limit.members} members"
                    )
                target = targets.get(Path(member.name).name)
                content = opened.extractfile(member) if target is not None and member.isfile() else None
                if target is not None and content is not None:
                    with content:
                        _extract(content.read, target, limit)
    else:
        raise ValueError(f"{archive} is neither a zip nor a tar")


def _extract(read: Callable[[int], bytes], target: Path, limit: UnpackLimit) -> None:
    """Copy a member by what it holds, whatever size it claims; where it holds too much, nothing is left."""
    copied = 0
    with target.open("wb") as copy:
        while part := read(COPY_BYTES):
            copied += len(part)
            if copied > limit.file_bytes:
                target.unlink()
                raise ValueError(f"{target.name} unpacks to more than {limit.file_bytes} bytes")
            copy.write(part)


def _remove(parts: Iterable[Path]) -> None:
    for part in parts:
        part.unlink(missing_ok=True)


def _names(file: WeightsFile) -> tuple[str, ...]:
    return (file.name, *file.other_names)


def _last_name(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2] or "file"
