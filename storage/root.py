"""The root: a local directory or an S3 bucket under which everything is published.

obstore is imported only for a bucket.
"""

import logging
import os
import stat
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from upath import UPath

from storage.atomic import partial_path, remove, remove_dead_partials
from storage.integrity.verified import memory_path, remember_verified, require_verified
from storage.manifest import MANIFEST_NAME, Manifest
from storage.objects import is_local, local_path
from storage.remote.bucket import allows_http, endpoint_url, open_store, reason_of, refuse_user
from storage.remote.transfer import damage, download, read_manifest

logger = logging.getLogger(__name__)

ROOT_VARIABLE: Final = "PDFGC_ROOT"
SCRATCH_VARIABLE: Final = "PDFGC_SCRATCH"
DEFAULT_LOCATION: Final = "./pdfgc-root"
HINT: Final = f"set {ROOT_VARIABLE} to a writable directory or to s3://bucket/prefix"


def open_root(location: str | None = None) -> UPath:
    """The root: `location`, else the variable PDFGC_ROOT, else ``./pdfgc-root``.

    A local directory is made absolute and created. ``s3://bucket/prefix`` is reached with the usual
    AWS_* variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
    AWS_ENDPOINT_URL, roles of the machine); the bucket must exist and is listed once, to fail early.
    Plain http is allowed for loopback addresses, or with AWS_ALLOW_HTTP=true.
    Pass local paths to worker processes. A worker that must read a bucket is started with `spawn` (the
    client's threads do not survive a fork) and calls this function before it uses a pickled UPath.

    Raises:
        ValueError: the location cannot be used.
    """
    location = location or os.environ.get(ROOT_VARIABLE) or DEFAULT_LOCATION
    scheme, separator, rest = location.partition("://")
    if not separator or scheme == "file":
        return _open_local_root(rest if separator else location, location)
    refuse_user(location, "storage root")
    if scheme != "s3":
        raise ValueError(f"storage root {location!r} has the unsupported scheme {scheme!r}: {HINT}")
    if not urlsplit(location).netloc:
        raise ValueError(f"storage root {location!r} has no bucket: {HINT}")
    return _open_bucket_root(location)


def _open_local_root(path: str, location: str) -> UPath:
    directory = Path(path).expanduser().absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"storage root {location!r} cannot be created: {error}; {HINT}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ValueError(f"storage root {location!r} is not writable for this user: {HINT}")
    return UPath(directory)


def _open_bucket_root(location: str) -> UPath:
    from obstore.exceptions import BaseError

    _register_obstore()
    allow_http = allows_http(f"storage root {location!r}")
    try:
        # Gives up early; later requests use obstore's default retries.
        open_store(location, patient=False).list_with_delimiter()
    except (BaseError, OSError) as error:
        raise ValueError(
            f"storage root {location!r} cannot be listed: {reason_of(error)}; check the bucket's name, "
            "AWS_REGION, AWS_ENDPOINT_URL and the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), "
            f"or {HINT}"
        ) from error
    # With the endpoint among the options fsspec, which caches one store for equal options, never returns the
    # store of another endpoint. Keys stay in the environment, out of pickles.
    options: dict[str, Any] = {"client_options": {"allow_http": allow_http}}
    endpoint = endpoint_url()
    if endpoint is not None:
        options["endpoint"] = endpoint
    return UPath(location.rstrip("/"), **options)


@cache
def _register_obstore() -> None:
    """Let methods of UPath use obstore for s3://; once, since each registration has stores of its own."""
    from obstore.fsspec import register

    register("s3")


def scratch_directory(root: UPath) -> Path:
    """The local directory for builds in progress.

    ``<root>/.building``, so that a rename publishes; for a bucket PDFGC_SCRATCH, else this user's
    ``pdfgc-<user id>`` in the platform's temporary directory, which is created.

    Raises:
        ValueError: another user could write there.
    """
    if is_local(root):
        return local_path(root) / ".building"
    given = os.environ.get(SCRATCH_VARIABLE)
    return Path(given).absolute() if given else _own_temporary_directory()


def _own_temporary_directory() -> Path:
    """In a directory that all users share; whoever made it decides what is read from it."""
    directory = Path(tempfile.gettempdir()).absolute() / f"pdfgc-{os.getuid()}"
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise ValueError(
            f"{directory} is not a directory that this user alone can write to: remove it, or set "
            f"{SCRATCH_VARIABLE}"
        )
    return directory


def local_copy(directory: UPath, cache_directory: Path | None = None) -> Path:
    """A published directory as local files.

    Args:
        directory: a published directory (`Published.directory`).
        cache_directory: for copies of remote directories, one for each content; default
            ``<scratch>/cache``.

    Returns:
        The directory itself if it is local; else its copy, downloaded once, verified against the manifest's
        sha256 and renamed into place.

    Raises:
        FileNotFoundError: the remote directory has no manifest: nothing is published there.
        ValueError: a downloaded file differs from the manifest.
    """
    if is_local(directory):
        return local_path(directory)
    manifest = read_manifest(directory)
    if manifest is None:
        raise FileNotFoundError(f"nothing is published in {directory}: it has no {MANIFEST_NAME}")
    copies = cache_directory or scratch_directory(directory) / "cache"
    target = copies / manifest.content_digest
    memory = memory_path(copies.parent, manifest, "copies")
    if _is_verified(target, manifest, memory):
        with suppress(FileNotFoundError):  # removed by gc just now: download it again
            os.utime(target)  # time of the last use, for gc
            return target
    copies.mkdir(parents=True, exist_ok=True)
    remove_dead_partials(copies)
    partial = partial_path(target)
    try:
        download(directory, manifest, partial)
        _place(partial, target, manifest)
        remember_verified(target, manifest, memory)
    finally:
        remove(partial)
    return target


def _place(partial: Path, target: Path, manifest: Manifest) -> None:
    try:
        partial.rename(target)
    except OSError:
        if not _is_complete(target, manifest):  # else another process was faster
            remove(target)
            partial.rename(target)


def _is_verified(copy: Path, manifest: Manifest, memory: Path) -> bool:
    """Whether a copy is complete and as it was downloaded; a damaged one is removed."""
    if not _is_complete(copy, manifest):
        return False
    try:
        require_verified(copy, manifest, memory)
    except ValueError as error:
        logger.warning("Downloading a local copy again: %s", error)
        remove(copy)
        return False
    return True


def verified_copy(directory: UPath) -> Path:
    """`local_copy`, verified against the manifest's sha256 if it has not been on this machine.

    Raises:
        FileNotFoundError: nothing is published there.
        ValueError: a file is damaged.
    """
    folder = local_copy(directory)
    if is_local(directory):
        manifest = read_manifest(directory)
        if manifest is None:
            raise FileNotFoundError(f"nothing is published in {directory}: it has no {MANIFEST_NAME}")
        # assets/<asset>/<partition>/<build> below the root
        scratch = scratch_directory(directory.parents[3])
        require_verified(folder, manifest, memory_path(scratch, manifest))
    return folder


def _is_complete(copy: Path, manifest: Manifest) -> bool:
    return (copy / MANIFEST_NAME).is_file() and damage(UPath(copy), manifest) is None
