"""The root: the one place, a local directory or an S3 bucket, under which everything is published.

obstore (S3) is imported only when a root lies there.
"""

import os
import tempfile
from contextlib import suppress
from functools import cache as remembered
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from upath import UPath

from storage.atomic import partial_path, remove, remove_dead_partials
from storage.bucket import allows_http, endpoint_url, open_store, reason_of
from storage.manifest import MANIFEST_NAME, Manifest
from storage.transfer import damage, download, is_local, local_path, read_bytes

ROOT_VARIABLE: Final = "PDFGC_ROOT"
SCRATCH_VARIABLE: Final = "PDFGC_SCRATCH"
DEFAULT_LOCATION: Final = "./pdfgc-root"
WAY_OUT: Final = f"set {ROOT_VARIABLE} to a directory that you may write to, or to s3://bucket/prefix"


def open_root(location: str | None = None) -> UPath:
    """The root: `location`, else the variable PDFGC_ROOT, else ``./pdfgc-root``.

    A local directory is made absolute and created. ``s3://bucket/prefix`` is reached with the usual
    AWS_* variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
    AWS_ENDPOINT_URL, roles of the machine); the bucket must exist and is listed once to say so now
    rather than after an hour's work. Plain http is for loopback, or with AWS_ALLOW_HTTP=true.
    Worker processes: hand them local paths. One that must read a bucket is started with `spawn` (the
    client's threads do not survive a fork) and calls this itself before it uses a pickled UPath.

    Raises:
        ValueError: the location cannot be used; names it, why, and the way out.
    """
    location = location or os.environ.get(ROOT_VARIABLE) or DEFAULT_LOCATION
    scheme, separator, rest = location.partition("://")
    if not separator or scheme == "file":
        return _open_local_root(rest if separator else location, location)
    if scheme != "s3":
        raise ValueError(f"storage root {location!r} is of the kind {scheme!r}, not supported: {WAY_OUT}")
    if not urlsplit(location).netloc:
        raise ValueError(f"storage root {location!r} names no bucket: {WAY_OUT}")
    return _open_bucket_root(location)


def _open_local_root(path: str, location: str) -> UPath:
    directory = Path(path).expanduser().absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"storage root {location!r} cannot be made: {error}; {WAY_OUT}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ValueError(f"storage root {location!r} may not be written to by this user: {WAY_OUT}")
    return UPath(directory)


def _open_bucket_root(location: str) -> UPath:
    from obstore.exceptions import BaseError

    _register_obstore()
    allow_http = allows_http(f"storage root {location!r}")
    try:
        # This one gives up early; the store that works later keeps obstore's patient defaults.
        open_store(location, patient=False).list_with_delimiter()
    except (BaseError, OSError) as error:
        raise ValueError(
            f"storage root {location!r} cannot be listed: {reason_of(error)}; check the bucket's name, "
            "AWS_REGION, AWS_ENDPOINT_URL and the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), "
            f"or {WAY_OUT}"
        ) from error
    # The endpoint is given by name so that fsspec, which keeps one store for equal options, never
    # answers with the store of another endpoint. Keys stay in the environment, out of pickles.
    options: dict[str, Any] = {"client_options": {"allow_http": allow_http}}
    endpoint = endpoint_url()
    if endpoint is not None:
        options["endpoint"] = endpoint
    return UPath(location.rstrip("/"), **options)


@remembered
def _register_obstore() -> None:
    """Make obstore fsspec's way to s3://, once: each registration would start a store of its own."""
    from obstore.fsspec import register

    register("s3")


def scratch_directory(root: UPath) -> Path:
    """Where building goes on, always local.

    ``<root>/.building``, so that a rename publishes; for a bucket the variable PDFGC_SCRATCH, else
    ``pdfgc`` in the platform's temporary directory.
    """
    if is_local(root):
        return local_path(root) / ".building"
    return Path(os.environ.get(SCRATCH_VARIABLE) or Path(tempfile.gettempdir()) / "pdfgc").absolute()


def local_copy(directory: UPath, cache: Path | None = None) -> Path:
    """A published directory as local files.

    Args:
        directory: a published directory (`Published.directory`).
        cache: where copies of remote directories are kept, one per content; default
            ``<scratch>/cache``.

    Returns:
        The directory itself where it is local; else its copy, downloaded once, checked against
        the manifest's sha256 and renamed into place whole.

    Raises:
        FileNotFoundError: a remote directory without a manifest: nothing was published there.
        ValueError: a downloaded file is not what the manifest says.
    """
    if is_local(directory):
        return local_path(directory)
    manifest = Manifest.from_json(read_bytes(directory / MANIFEST_NAME).decode())
    cache = cache or scratch_directory(directory) / "cache"
    target = cache / manifest.content_digest
    if _is_whole(target, manifest):
        with suppress(FileNotFoundError):  # collected this moment: it is downloaded again
            os.utime(target)  # when it was last asked for: copies that nobody asks for are collected
            return target
    cache.mkdir(parents=True, exist_ok=True)
    remove_dead_partials(cache)
    partial = partial_path(target)
    try:
        download(directory, manifest, partial)
        _place(partial, target, manifest)
    finally:
        remove(partial)
    return target


def _place(partial: Path, target: Path, manifest: Manifest) -> None:
    try:
        partial.rename(target)
    except OSError:
        if not _is_whole(target, manifest):  # else another process put the same content there first
            remove(target)
            partial.rename(target)


def _is_whole(copy: Path, manifest: Manifest) -> bool:
    return (copy / MANIFEST_NAME).is_file() and damage(UPath(copy), manifest) is None
