"""Outside weights into their folder: downloaded, copied or unpacked, checked, renamed into place whole."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from storage.atomic import flush_directory, flush_file
from storage.build_directory import building_lock
from storage.fingerprint import file_sha256
from weights.archive import DAMAGED_ARCHIVE, unpack
from weights.download import BY_BROWSER, DownloadSettings, download, shown_url
from weights.folder import (
    SNIFFED_BYTES,
    FoundFile,
    check_content,
    examine,
    find_files,
    lying_file,
    missing_message,
    refuse_web_page,
    remember,
)
from weights.licences import require_acceptance
from weights.rows import ArchiveRow, FetchProgress, FileRow, WeightsRow

PART_SUFFIX: Final = ".part"


def fetch(
    row: WeightsRow,
    folder: Path,
    progress: FetchProgress,
    source: str | None = None,
    settings: DownloadSettings | None = None,
) -> tuple[FoundFile, ...]:
    """Bring a set's missing files into the folder; what is there is verified and kept.

    Of two fetches at once the second waits for the first and finds its files.

    Args:
        row: the set.
        folder: that holds the sets' folders.
        progress: is told of every piece.
        source: where it is instead of its own address: a file, an archive, a folder with the files, or an
            address (file, http, https).
        settings: of downloads.

    Raises:
        FileNotFoundError: only a person can get it, or `source` is not there.
        ConnectionError: an address could not be reached; what came is kept.
        ValueError: the licence was not accepted, or what came is not what it should be.
    """
    require_acceptance(row, folder)
    home = folder / row.name
    with building_lock(home):
        wanted: list[FileRow] = []
        for file in row.files:
            lying = lying_file(row, file, folder)
            if lying is None:
                wanted.append(file)
            else:
                examine(row, file, lying, folder)
        if wanted:
            home.mkdir(parents=True, exist_ok=True)
            task = _Fetch(row, folder, progress, settings or DownloadSettings())
            task.bring(wanted, source)
    return find_files(row, folder)


class _Fetch:
    """One set's fetch, under its lock."""

    def __init__(
        self, row: WeightsRow, folder: Path, progress: FetchProgress, settings: DownloadSettings
    ) -> None:
        self._row, self._folder, self._home = row, folder, folder / row.name
        self._progress, self._settings = progress, settings

    def bring(self, wanted: Sequence[FileRow], source: str | None) -> None:
        if source is None:
            self._from_own_addresses(wanted)
            return
        scheme = urlsplit(source).scheme.lower()
        if scheme in ("http", "https"):
            part = self._home / f"given-{_last_name(source)}{PART_SUFFIX}"
            self._download(source, part, None)
            self._take(wanted, part, _last_name(source), shown_url(source))
            part.unlink(missing_ok=True)
            return
        path = Path(unquote(urlsplit(source).path) if scheme == "file" else source).expanduser().absolute()
        if path.is_dir():
            self._from_folder(wanted, path)
        elif path.is_file():
            self._take(wanted, path, path.name, str(path))
        else:
            raise FileNotFoundError(f"{self._row.name}: nothing is at {path}")

    def _from_own_addresses(self, wanted: Sequence[FileRow]) -> None:
        archive = self._row.archive
        if archive is not None and archive.url is not None:
            part = self._part(archive)
            self._download(archive.url, part, archive.size_bytes)
            self._check_archive(archive, part)
            self._unpack(wanted, part, archive.url)
            part.unlink(missing_ok=True)
            return
        urls = {file.name: file.url for file in wanted}
        if None in urls.values():
            raise FileNotFoundError(missing_message(self._row, wanted, self._folder))
        for file in wanted:
            url = urls[file.name]
            assert url is not None
            self._download(url, self._part(file), file.size_bytes)
            self._publish([file], url)

    def _from_folder(self, wanted: Sequence[FileRow], path: Path) -> None:
        lying = {
            file.name: next((path / name for name in _names(file) if (path / name).is_file()), None)
            for file in wanted
        }
        if missing := [name for name, found in lying.items() if found is None]:
            raise FileNotFoundError(f"{self._row.name}: no {', '.join(missing)} in {path}")
        for file in wanted:
            found = lying[file.name]
            assert found is not None
            self._copy(file, found)
        self._publish(wanted, str(path))

    def _take(self, wanted: Sequence[FileRow], path: Path, name: str, source: str) -> None:
        """Files out of one that was given: an archive of them, or the one itself."""
        with path.open("rb") as opened:
            refuse_web_page(opened.read(SNIFFED_BYTES), source, BY_BROWSER)
        named = [file for file in wanted if name in _names(file)]
        if not named and self._row.archive is not None:
            self._unpack(wanted, path, source)
            return
        if not named and len(wanted) > 1:
            names = ", ".join(file.name for file in wanted)
            raise ValueError(f"{path}: which of {self._row.name}'s files is it? Name it as one of {names}")
        self._copy((named or wanted)[0], path)
        self._publish((named or wanted)[:1], source)
        left = [file for file in wanted if file not in (named or wanted)[:1]]
        if left:
            raise FileNotFoundError(
                f"{path} is in place; still missing: {missing_message(self._row, left, self._folder)}"
            )

    def _check_archive(self, archive: ArchiveRow, part: Path) -> None:
        if archive.sha256 is None:
            return
        if (found := file_sha256(part)) != archive.sha256:
            part.unlink()
            raise ValueError(
                f"{archive.url} is another file: its sha256 is {found}, should be {archive.sha256}; "
                "nothing was changed"
            )

    def _unpack(self, wanted: Sequence[FileRow], archive: Path, source: str) -> None:
        targets = {name: self._part(file) for file in wanted for name in _names(file)}
        for part in targets.values():
            part.unlink(missing_ok=True)  # of a fetch that was killed
        try:
            unpack(archive, targets)
        except DAMAGED_ARCHIVE as error:
            raise ValueError(f"{source} cannot be unpacked: it is damaged or cut short ({error})") from error
        missing = [file.name for file in wanted if not self._part(file).is_file()]
        if missing:
            raise ValueError(f"{source} does not hold {', '.join(missing)}")
        self._publish(wanted, source)

    def _copy(self, file: FileRow, path: Path) -> None:
        part = self._part(file)
        size_bytes = path.stat().st_size
        shutil.copyfile(path, part)
        self._progress(file.name, size_bytes, size_bytes)

    def _download(self, url: str, part: Path, size_bytes: int | None) -> None:
        name = part.name.removesuffix(PART_SUFFIX)
        download(url, part, size_bytes, lambda done, total: self._progress(name, done, total), self._settings)

    def _publish(self, files: Sequence[FileRow], source: str) -> None:
        """Check all, then rename all: files of one source come together or not at all."""
        checked: list[FoundFile] = []
        for file in files:
            part = self._part(file)
            try:
                checked.append(
                    check_content(self._row, file, part, self._folder, source, "nothing was changed")
                )
            except ValueError:
                for other in files:
                    self._part(other).unlink(missing_ok=True)
                raise
        for file, found in zip(files, checked, strict=True):
            part = self._part(file)
            flush_file(part)
            part.replace(self._home / file.name)
            remember(self._row, self._folder, file, found, source)
        flush_directory(self._home)

    def _part(self, file: FileRow | ArchiveRow) -> Path:
        return self._home / f"{file.name}{PART_SUFFIX}"


def _names(file: FileRow) -> tuple[str, ...]:
    return (file.name, *file.other_names)


def _last_name(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2] or "file"
