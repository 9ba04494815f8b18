"""Paths of sources: local paths, or objects of an S3 bucket, which are listed and fetched here.

Buckets use the same AWS_* variables as a root in a bucket (`storage.root.open_root`). A bucket's videos
are read as temporary local copies, so the disk holds at most one of them per reader. obstore is imported
only when a bucket is read.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Final

from preprocessing.media.container import RefusedVideo
from preprocessing.worker_limits import note_progress
from storage.atomic import partial_path
from storage.printable import without_secrets
from storage.remote.bucket import find_object, open_store, read_chunks, reason_of, refuse_user
from storage.remote.bucket import list_objects as list_bucket

URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
ENTRY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^:]*|[^:]+")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, order=True)
class BucketPath:
    """An object, or all objects below a prefix: ``s3://bucket/key``.

    Raises:
        ValueError: no bucket, or a key with parts that clients treat differently.
    """

    bucket: str
    key: str  # no slash at either end; "" is the whole bucket

    def __post_init__(self) -> None:
        if not self.bucket:
            raise ValueError(f"{self} names no bucket, need s3://bucket/prefix")
        if self.key and not {"", ".", ".."}.isdisjoint(self.key.split("/")):
            raise ValueError(f"{self} has an empty, '.' or '..' part, which cannot be listed")

    def __str__(self) -> str:  # pyright: ignore[reportImplicitOverride]
        return f"s3://{self.bucket}/{self.key}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.key).name

    @property
    def suffix(self) -> str:
        """The suffix of the last part with its dot; "" where it has none."""
        return PurePosixPath(self.key).suffix

    def absolute(self) -> "BucketPath":
        """Itself; as of `Path`, so that callers need not tell the two apart."""
        return self

    def resolve(self) -> "BucketPath":
        """Itself: a bucket has no links."""
        return self


SourcePath = Path | BucketPath


@dataclass(frozen=True)
class BucketObject:
    """An object as listed by its bucket, not read."""

    path: BucketPath
    size_bytes: int
    modified_ns: int  # nanoseconds since 1970; stores have whole seconds or milliseconds


def source_path(text: str) -> SourcePath:
    """Parse a folder or a source: a path, file:// or s3://bucket/prefix.

    Raises:
        ValueError: a URL of another scheme, without a bucket, or with a user.
    """
    url = URL.fullmatch(text)
    if url is None or url[1].lower() == "file":
        return Path(text if url is None else url[2]).expanduser()
    if url[1].lower() != "s3":
        raise ValueError(
            f"videos at {without_secrets(text)!r}: {url[1]}:// is not supported, need a folder or s3://bucket/prefix"
        )
    refuse_user(text, "videos at")
    bucket, _, key = url[2].partition("/")
    return BucketPath(bucket, key.strip("/"))


def split_folders(text: str) -> list[str]:
    """Split a variable written like PATH; the colon of ``s3://`` does not separate."""
    return ENTRY.findall(text)


def is_folder(folder: SourcePath) -> bool:
    """Whether the folder exists; for a bucket's prefix, whether any object has it.

    Raises:
        OSError: the bucket cannot be listed.
    """
    if isinstance(folder, Path):
        return folder.is_dir()
    first = next(list_objects(folder), None)
    return first is not None or folder.key == ""


def list_objects(folder: BucketPath) -> Iterator[BucketObject]:
    """Every object below a prefix, in the order of keys, by sequential requests of a thousand objects.

    Raises:
        OSError: the bucket cannot be listed.
    """
    from obstore.exceptions import BaseError

    store = open_store(f"s3://{folder.bucket}", patient=False)
    try:
        for info in list_bucket(store, folder.key):
            path = BucketPath(folder.bucket, info.key)
            yield BucketObject(path, info.size_bytes, _nanoseconds(info.modified))
    except (BaseError, OSError) as error:
        raise OSError(
            f"{folder} cannot be listed: {reason_of(error)}; check the bucket's name, AWS_REGION, "
            "AWS_ENDPOINT_URL and the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
        ) from error


@contextmanager
def fetched(path: BucketPath, target: Path) -> Generator[tuple[Path, BucketObject], None, None]:
    """A local copy of an object, removed when the block ends.

    Args:
        path: the object.
        target: the copy is a temporary file beside this path, with the same suffix;
            `remove_dead_partials` removes what a killed process leaves.

    Yields:
        The copy, and size and time of the object that was copied.

    Raises:
        RefusedVideo: `source_missing`: the bucket has no such object; `still_changing`: it was replaced
            while being fetched.
        OSError: it could not be fetched or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = partial_path(target)
    try:
        yield copy, _download(path, copy)
    finally:
        copy.unlink(missing_ok=True)


def _download(path: BucketPath, copy: Path) -> BucketObject:
    from obstore.exceptions import BaseError, PreconditionError

    store = open_store(f"s3://{path.bucket}", patient=True)
    try:
        info = find_object(store, path.key)
        with copy.open("wb") as file:
            for chunk in read_chunks(store, info):
                file.write(chunk)
                note_progress()
    except PreconditionError as error:
        raise RefusedVideo("still_changing", "the object was replaced while being fetched") from error
    except FileNotFoundError as error:
        # A missing bucket or a wrong endpoint gives the same error; `is_folder` raises OSError for those.
        is_folder(path)
        raise RefusedVideo("source_missing", f"{path} does not exist any more") from error
    except BaseError as error:
        raise OSError(f"{path} cannot be fetched: {reason_of(error)}") from error
    return BucketObject(path, info.size_bytes, _nanoseconds(info.modified))


def _nanoseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1) * 1000
