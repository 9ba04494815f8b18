"""Access to S3 buckets with the usual AWS_* variables: connection, listing, reading in chunks.

Plain http is allowed for loopback addresses, or with AWS_ALLOW_HTTP=true. obstore is imported only when a
bucket is opened.
"""

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from storage.printable import display_text, without_secrets

if TYPE_CHECKING:
    import obstore.store
    from obstore.store import S3Config

CHUNK_BYTES: Final = 8 << 20
"""Read at a time: an object never lies in memory whole, and each chunk has obstore's 30 s to arrive."""


@dataclass(frozen=True)
class ObjectInfo:
    """One version of an object."""

    key: str
    size_bytes: int
    modified: datetime
    tag: str | None  # ETag


def endpoint_url() -> str | None:
    """AWS_ENDPOINT_URL_S3, else AWS_ENDPOINT_URL; None for Amazon's own.

    Raises:
        ValueError: it holds a user or a password, which errors and pickled paths would carry on.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint is not None:
        refuse_user(endpoint, "AWS_ENDPOINT_URL")
    return endpoint


def refuse_user(address: str, what: str) -> None:
    """Refuse an address with a user or a password.

    Raises:
        ValueError: it has one; the message does not.
    """
    shown = without_secrets(address)
    if shown != address:
        raise ValueError(
            f"{what} {shown!r} must have no user and no password: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY instead"
        )


def allows_http(location: str) -> bool:
    """Whether the endpoint is reached over plain http.

    Raises:
        ValueError: it would be, on another machine, and AWS_ALLOW_HTTP is not set.
    """
    endpoint = endpoint_url()
    if endpoint is None or not endpoint.startswith("http://"):
        return False
    host = urlsplit(endpoint).hostname or ""
    if _is_loopback(host) or os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"):
        return True
    raise ValueError(
        f"{location}: AWS_ENDPOINT_URL {endpoint!r} would send the data unencrypted; "
        "use https, or set AWS_ALLOW_HTTP=true if the network is trusted"
    )


def open_store(location: str, *, patient: bool) -> "obstore.store.S3Store":
    """A bucket, or what is below a prefix of it. No request is made.

    Args:
        location: ``s3://bucket`` or ``s3://bucket/prefix``.
        patient: with obstore's default retries, which last minutes; otherwise it gives up within 20 seconds.

    Raises:
        ValueError: see `allows_http`.
    """
    return _open_store(location, endpoint_url(), allows_http(location), patient)


def list_objects(store: "obstore.store.S3Store", prefix: str) -> Iterator[ObjectInfo]:
    """Every object below a prefix, by key. Only whole parts of keys match: a/b does not find a/bc."""
    for page in store.list(prefix or None):
        for meta in page:
            yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"], meta["e_tag"])


def find_object(store: "obstore.store.S3Store", key: str) -> ObjectInfo:
    """The current version of an object. Raises FileNotFoundError."""
    meta = store.head(key)
    return ObjectInfo(key, meta["size"], meta["last_modified"], meta["e_tag"])


def read_chunks(store: "obstore.store.S3Store", info: ObjectInfo) -> Iterator[bytes]:
    """The bytes of one version of an object, in chunks.

    Raises:
        obstore.exceptions.PreconditionError: the object was replaced meanwhile.
        FileNotFoundError: the object is gone.
    """
    for start in range(0, info.size_bytes, CHUNK_BYTES):
        end = min(start + CHUNK_BYTES, info.size_bytes)
        response = store.get(info.key, options={"range": (start, end), "if_match": info.tag})
        yield bytes(response.bytes())


@cache  # a store holds connections and threads
def _open_store(
    location: str, endpoint: str | None, allow_http: bool, patient: bool
) -> "obstore.store.S3Store":
    from obstore.store import S3Store

    config: S3Config = {} if endpoint is None else {"endpoint": endpoint}
    if patient:
        return S3Store.from_url(location, config=config, client_options={"allow_http": allow_http})
    return S3Store.from_url(
        location,
        config=config,
        client_options={"allow_http": allow_http, "connect_timeout": "5s", "timeout": "20s"},
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
    )


def reason_of(error: Exception) -> str:
    """The first line of an obstore error, fit for display; debugging details follow it."""
    return display_text(str(error).strip().splitlines()[0])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
