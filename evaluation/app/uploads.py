"""Uploaded files of `pdfgc app`, kept until their video is rendered or their page is gone."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final
from uuid import uuid4

MIB: Final = 1 << 20
FOLDER_PREFIX: Final = "pdfgc-app-"
EXPIRED: Final = "an uploaded file has expired: add it again"


@dataclass(frozen=True)
class UploadLimits:
    """How much the pages may store at once, and for how long."""

    file_mib: int = 2048
    total_mib: int = 8192
    files: int = 64  # of all pages
    expiry_seconds: float = 900.0  # since the last write; files are uploaded right before the render request


class UploadRefusedError(ValueError):
    """A limit is reached, or the upload was removed meanwhile."""


@dataclass
class Upload:
    """One uploaded file in a folder of its own."""

    page: str  # that uploaded it
    path: Path
    size_bytes: int = 0
    is_complete: bool = False
    is_used: bool = False  # by a job
    touched: float = field(default_factory=time.monotonic)


class UploadStore:
    """Uploads of all pages in a temporary folder, which is removed at the end; thread-safe."""

    def __init__(self, limits: UploadLimits) -> None:
        remove_leftovers()
        self.limits = limits
        self._lock = Lock()
        self._uploads: dict[str, Upload] = {}
        self._folder, self._folder_descriptor = _locked_folder()

    def create(self, page: str, name: str, announced_bytes: int = 0) -> str:
        """Start an upload.

        Args:
            page: that uploads.
            name: of the file.
            announced_bytes: its size, as far as it is known.

        Returns:
            Its id, 32 hex digits.

        Raises:
            UploadRefusedError: a limit is reached.
            OSError: the file cannot be created.
        """
        upload_id = uuid4().hex
        folder = self._folder / upload_id
        with self._lock:
            if len(self._uploads) >= self.limits.files:
                raise UploadRefusedError(f"there are {self.limits.files} uploaded files already")
            self._check_size(name, announced_bytes, announced_bytes)
            self._uploads[upload_id] = Upload(page, folder / name)
        try:
            folder.mkdir()
        except OSError:
            self.remove([upload_id])
            raise
        return upload_id

    def write(self, upload_id: str, parts: bytes) -> None:
        """Append to a file.

        Raises:
            UploadRefusedError: a limit is reached, or its page is gone.
            OSError: it cannot be written.
        """
        with self._lock:
            upload = self._uploads.get(upload_id)
            if upload is None:
                raise UploadRefusedError("the page of this upload is gone")
            self._check_size(upload.path.name, upload.size_bytes + len(parts), len(parts))
            upload.size_bytes += len(parts)
            upload.touched = time.monotonic()
        with upload.path.open("ab") as file:
            file.write(parts)

    def finish(self, upload_id: str) -> None:
        """Mark a file as complete: jobs of its page can use it."""
        with self._lock:
            if upload_id in self._uploads:
                self._uploads[upload_id].is_complete = True

    def look(self, page: str, upload_id: str) -> Path:
        """A complete file of a page, to show what is in it.

        Raises:
            FileNotFoundError: it is not there, not complete, or of another page.
        """
        with self._lock:
            upload = self._uploads.get(upload_id)
            if upload is None or upload.page != page or not upload.is_complete:
                raise FileNotFoundError(EXPIRED)
            upload.touched = time.monotonic()
            return upload.path

    def use(self, page: str, upload_ids: Collection[str]) -> Mapping[str, Path]:
        """Files for a job, by id; they stay until `remove`.

        Raises:
            FileNotFoundError: one is not there, not complete, used by another job or of another page.
        """
        with self._lock:
            uploads = {name: self._uploads.get(name) for name in upload_ids}
            found = {
                name: upload
                for name, upload in uploads.items()
                if upload is not None and upload.page == page and upload.is_complete and not upload.is_used
            }
            if len(found) < len(uploads):
                raise FileNotFoundError(EXPIRED)
            for upload in found.values():
                upload.is_used = True
            return {name: upload.path for name, upload in found.items()}

    def remove(self, upload_ids: Iterable[str]) -> None:
        """Remove files."""
        with self._lock:
            for upload_id in upload_ids:
                self._remove(upload_id)

    def remove_unused(self, page: str) -> None:
        """Remove the files of a page that no job uses."""
        with self._lock:
            for name in [name for name, upload in self._uploads.items() if upload.page == page]:
                if not self._uploads[name].is_used:
                    self._remove(name)

    def remove_expired(self) -> None:
        """Remove the files that no job uses and that were last written long ago."""
        oldest = time.monotonic() - self.limits.expiry_seconds
        with self._lock:
            for name, upload in list(self._uploads.items()):
                if not upload.is_used and upload.touched < oldest:
                    self._remove(name)

    def close(self) -> None:
        """Remove all files and the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._folder_descriptor)

    def _check_size(self, name: str, file_bytes: int, more_bytes: int) -> None:
        limits, total = self.limits, sum(upload.size_bytes for upload in self._uploads.values())
        if file_bytes > limits.file_mib * MIB:
            raise UploadRefusedError(
                f"{name} is larger than {limits.file_mib} MiB; restart pdfgc app with --max-upload-mib"
            )
        if total + more_bytes > limits.total_mib * MIB:
            raise UploadRefusedError(
                f"no room for {name}: uploaded files may take {limits.total_mib} MiB together; restart "
                "pdfgc app with --max-uploads-mib"
            )

    def _remove(self, upload_id: str) -> None:
        self._uploads.pop(upload_id, None)
        shutil.rmtree(self._folder / upload_id, ignore_errors=True)


def remove_leftovers() -> None:
    """Remove the upload folders of this user's servers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # another user's, removed meanwhile, or no folder
            continue
        try:
            if os.fstat(descriptor).st_uid == os.getuid() and _lock_folder(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def _locked_folder() -> tuple[Path, int]:
    """A new folder, locked as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        if _lock_folder(descriptor) and folder.is_dir():
            return folder, descriptor
        os.close(descriptor)  # another server that has just started took it for a leftover


def _lock_folder(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
