"""Access to S3 buckets with the usual AWS_* variables: connection, listing, reading in chunks.

Plain http is allowed for loopback addresses, or with AWS_ALLOW_HTTP=true. obstore is imported only when a
bucket is opened.
"""

import ipaddress
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from storage.printable import display_text, without_secrets

if TYPE_CHECKING:
    import obstore.store
    from obstore import GetOptions
    from obstore.store import S3Config

CHUNK_BYTES: Final = 8 << 20
"""Read at a time: an object never lies in memory whole, and each chunk has obstore's 30 s to arrive."""


PAGE_OBJECTS: Final = 1000  # as S3 gives them
PAUSES_SECONDS: Final = (0.2, 1.0)
"""Before the second and third attempt of a request whose answer broke off."""

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


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
    last: str | None = None
    while page := _page(store, prefix, last):
        for meta in page:
            yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"], meta["e_tag"])
        last = page[-1]["path"]


def _page(store: "obstore.store.S3Store", prefix: str, last: str | None) -> Sequence[Any]:
    pages = partial(store.list, prefix or None, offset=last, chunk_size=PAGE_OBJECTS)
    return repeated(lambda: next(iter(pages()), ()))


def list_directory(store: "obstore.store.S3Store", prefix: str) -> tuple[list[str], list[str]]:
    """The paths of the folders and of the objects directly below a prefix."""
    result = repeated(lambda: store.list_with_delimiter(prefix or None))
    return list(result["common_prefixes"]), [meta["path"] for meta in result["objects"]]


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
        yield get_bytes(store, info.key, (start, end), info.tag)[0]


def get_bytes(
    store: "obstore.store.S3Store", key: str, span: tuple[int, int] | None = None, tag: str | None = None
) -> tuple[bytes, str]:
    """The bytes of an object, or those from `span[0]` to `span[1]`, and its tag.

    Raises:
        FileNotFoundError: there is none.
        obstore.exceptions.PreconditionError: it has another tag than `tag`.
    """
    options: GetOptions = {}
    if span is not None:
        options["range"] = span
    if tag is not None:
        options["if_match"] = tag

    def get() -> tuple[bytes, str]:
        response = store.get(key, options=options)
        return bytes(response.bytes()), response.meta["e_tag"] or ""

    return repeated(get)


def repeated(request: Callable[[], Answer]) -> Answer:
    """Make a request, again if the connection ends within the answer: obstore repeats all but that."""
    from obstore.exceptions import GenericError

    for pause_seconds in PAUSES_SECONDS:
        try:
            return request()
        except GenericError as error:
            logger.warning("%s: asking again in %g s", reason_of(error), pause_seconds)
            time.sleep(pause_seconds)
    return request()


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
