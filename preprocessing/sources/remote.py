"""Where a source lies: a local path, or an object of an S3 bucket; listing and fetching the latter.

Buckets are reached with the same AWS_* variables as a root that lies in one (`storage.root.open_root`).
A bucket's videos are only ever read as a local copy that lasts as long as it is needed, so the disk holds
one of them for each reader at most. obstore is imported only when a bucket is read.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Final

from preprocessing.media.container import RefusedVideo
from storage.atomic import partial_path
from storage.bucket import open_store, reason_of

PIECE_BYTES: Final = 8 << 20  # fetched at a time: each piece has obstore's 30 seconds to arrive
URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
ENTRY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^:]*|[^:]+")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, order=True)
class BucketPath:
    """An object, or all that begins with a prefix: ``s3://bucket/key``.

    Raises:
        ValueError: no bucket, or a key with parts that no client agrees about.
    """

    bucket: str
    key: str  # no slash at either end; "" is the whole bucket

    def __post_init__(self) -> None:
        if not self.bucket:
            raise ValueError(f"{self} names no bucket: s3://bucket/prefix is wanted")
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
        """The last part's ending with its dot; "" where it has none."""
        return PurePosixPath(self.key).suffix

    def absolute(self) -> "BucketPath":
        """Itself; named as `Path` has it, so that callers need not ask which one they hold."""
        return self

    def resolve(self) -> "BucketPath":
        """Itself: a bucket has no links."""
        return self


SourcePath = Path | BucketPath


@dataclass(frozen=True)
class BucketObject:
    """An object as its bucket tells it, not read."""

    path: BucketPath
    size_bytes: int
    modified_ns: int  # nanoseconds since 1970; stores tell whole seconds or milliseconds


def source_path(text: str) -> SourcePath:
    """A folder or a source as a person or the catalog writes it: a path, file:// or s3://bucket/prefix.

    Raises:
        ValueError: a URL of another kind, or one that names no bucket.
    """
    url = URL.fullmatch(text)
    if url is None or url[1].lower() == "file":
        return Path(text if url is None else url[2]).expanduser()
    if url[1].lower() != "s3":
        raise ValueError(f"videos at {text!r}: of {url[1]}:// nothing is known; name a folder or s3://bucket")
    bucket, _, key = url[2].partition("/")
    return BucketPath(bucket, key.strip("/"))


def split_folders(text: str) -> list[str]:
    """Entries of a variable that is written like PATH; the colon of ``s3://`` does not split."""
    return ENTRY.findall(text)


def is_folder(folder: SourcePath) -> bool:
    """Whether there is such a folder; of a bucket's prefix: whether any object begins with it.

    Raises:
        OSError: the bucket cannot be listed.
    """
    if isinstance(folder, Path):
        return folder.is_dir()
    first = next(list_objects(folder), None)
    return first is not None or folder.key == ""


def list_objects(folder: BucketPath) -> Iterator[BucketObject]:
    """Every object below a prefix, by key. One chain of listing calls, a thousand objects each.

    Raises:
        OSError: the bucket cannot be listed: names it, why, and what to look at.
    """
    from obstore.exceptions import BaseError

    store = open_store(f"s3://{folder.bucket}", patient=False)
    try:
        for page in store.list(folder.key or None):
            for found in page:
                path = BucketPath(folder.bucket, found["path"])
                yield BucketObject(path, found["size"], _nanoseconds(found["last_modified"]))
    except (BaseError, OSError) as error:
        raise OSError(
            f"{folder} cannot be listed: {reason_of(error)}; check the bucket's name, AWS_REGION, "
            "AWS_ENDPOINT_URL and the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
        ) from error


@contextmanager
def fetched(path: BucketPath, target: Path) -> Generator[tuple[Path, BucketObject], None, None]:
    """A local copy of an object, gone when the block ends, however it ends.

    Args:
        path: of the object.
        target: the copy lies beside this path under a name of its own, with the same suffix;
            `remove_dead_partials` finds what a killed process left.

    Yields:
        The copy, and what the bucket told of the object that was copied.

    Raises:
        RefusedVideo: `source_missing`: there is no such object, in a bucket that answers;
            `still_changing`: it was replaced while it was fetched.
        OSError: it could not be fetched, or written.
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
        told = store.head(path.key)
        with copy.open("wb") as file:
            for start in range(0, told["size"], PIECE_BYTES):
                end = min(start + PIECE_BYTES, told["size"])
                # The tag holds all pieces to one version of the object.
                got = store.get(path.key, options={"range": (start, end), "if_match": told["e_tag"]})
                file.write(got.bytes())
    except PreconditionError as error:
        raise RefusedVideo("still_changing", "the object was replaced while it was fetched") from error
    except FileNotFoundError as error:
        # A missing bucket or a wrong endpoint answers alike; then the object is not known to be gone.
        is_folder(path)
        raise RefusedVideo("source_missing", f"{path} is not there any more") from error
    except BaseError as error:
        raise OSError(f"{path} cannot be fetched: {reason_of(error)}") from error
    return BucketObject(path, told["size"], _nanoseconds(told["last_modified"]))


def _nanoseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1) * 1000
