"""Reaching an S3 bucket with the usual AWS_* variables; plain http only where it is meant.

obstore is imported only when a bucket is opened.
"""

import ipaddress
import os
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import obstore.store
    from obstore.store import S3Config


def endpoint_url() -> str | None:
    """Where AWS_ENDPOINT_URL_S3, else AWS_ENDPOINT_URL, says that the store is; None for Amazon's own."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def allows_http(location: str) -> bool:
    """Whether the endpoint is reached over plain http.

    Raises:
        ValueError: it would be, to another machine, and AWS_ALLOW_HTTP does not say so.
    """
    endpoint = endpoint_url()
    if endpoint is None or not endpoint.startswith("http://"):
        return False
    host = urlsplit(endpoint).hostname or ""
    if _is_loopback(host) or os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"):
        return True
    raise ValueError(
        f"{location}: AWS_ENDPOINT_URL {endpoint!r} would carry the data unencrypted; "
        "use https, or set AWS_ALLOW_HTTP=true if that network is yours"
    )


def open_store(location: str, *, patient: bool) -> "obstore.store.S3Store":
    """A bucket, or what lies below a prefix of it. Nothing is asked of it yet.

    Args:
        location: ``s3://bucket`` or ``s3://bucket/prefix``.
        patient: with obstore's retries, which go on for minutes; else it gives up within 20 seconds.

    Raises:
        ValueError: as `allows_http`.
    """
    return _open_store(location, endpoint_url(), allows_http(location), patient)


@cache  # a store holds its own connections and threads
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
    """What obstore tells of an error, without the debugging text below its first line."""
    return str(error).strip().splitlines()[0]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
