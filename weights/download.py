"""Download one file over http(s), resuming an interrupted download; proxies come from the environment.

Received bytes go into a part file. Beside it, `<part>.json` keeps the URL's digest and the server's ETag, so
that parts of two versions are never joined.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import requests
from requests import Response, exceptions
from urllib3 import Retry
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.response import BaseHTTPResponse

from storage.atomic import write_atomically
from weights.folder import MEGABYTE, refuse_web_page

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the size in bytes (None: unknown)."""

RETRY: Final = Retry(total=4, backoff_factor=1.0, status_forcelist=(408, 425, 429, 500, 502, 503, 504))
"""Retries without progress: after 0, 2, 4 and 8 s. Counting starts again when bytes have arrived."""
AUTHORISATION_STATUS: Final = frozenset({401, 402, 403, 407, 451})
CONNECT_TIMEOUT_SECONDS: Final = 15.0
READ_TIMEOUT_SECONDS: Final = 60.0
MAXIMUM_WAIT_SECONDS: Final = 60.0  # whatever Retry-After says
CHUNK_BYTES: Final = 1 << 18
USE_BROWSER: Final = "download it with a browser and pass it with --from FILE"


@dataclass(frozen=True)
class _Version:
    """Which version of which file a part belongs to."""

    url_sha256: str  # not the URL itself, which may contain a key
    tag: str  # ETag or Last-Modified; empty if the server sends neither


class _TransientError(Exception):
    """An error that a retry may fix."""

    def __init__(self, reason: str, response: Response | None = None) -> None:
        super().__init__(reason)
        self.response = response


def download(url: str, part: Path, size_bytes: int | None, progress: Progress, retry: Retry = RETRY) -> None:
    """Download a URL into a part file, resuming from the bytes that are there.

    Proxies: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY.

    Args:
        url: http or https.
        part: the file; complete when this returns.
        size_bytes: expected size; None if unknown.
        progress: called after every chunk.
        retry: how often to retry without progress, how long to wait, and on which status codes.

    Raises:
        ConnectionError: retries are exhausted; the part is kept.
        ValueError: the response is not the file: a web page, a wrong size, a status that no retry fixes.
        OSError: not enough disk space.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    attempts, received = retry, _size(part)
    while True:
        try:
            _attempt(url, part, size_bytes, progress, retry)
        except _TransientError as error:
            if _size(part) > received:
                attempts, received = retry, _size(part)
            try:
                attempts = attempts.increment("GET", shown_url(url), error=error)
            except MaxRetryError:
                raise ConnectionError(
                    f"cannot download {shown_url(url)}: {error}; {_size(part)} bytes are kept: "
                    "run the command again, or pass the file with --from FILE"
                ) from error
            wait_seconds = _wait_seconds(attempts, error.response)
            logger.warning(
                "%s: %s; retry %d in %.0f s", shown_url(url), error, len(attempts.history), wait_seconds
            )
            time.sleep(wait_seconds)
        else:
            _version_file(part).unlink(missing_ok=True)
            return


def _wait_seconds(attempts: Retry, response: Response | None) -> float:
    raw = response.raw if response is not None else None
    retry_after: float | None = None
    if isinstance(raw, BaseHTTPResponse):
        with suppress(HTTPError):  # an invalid Retry-After counts as none
            retry_after = attempts.get_retry_after(raw)
    return float(min(retry_after or attempts.get_backoff_time(), MAXIMUM_WAIT_SECONDS))


def _attempt(url: str, part: Path, size_bytes: int | None, progress: Progress, retry: Retry) -> None:
    """One request. Raises `_TransientError` if another may succeed."""
    start = _resumable_bytes(url, part)
    if size_bytes is not None and start == size_bytes:
        return
    headers = {"Accept-Encoding": "identity"}  # ranges count bytes of the file itself
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": _read_version(part).tag}
    timeout = (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            _check_status(shown_url(url), response, part, retry)
            start, total = _check_headers(url, response, part, start, size_bytes)
            _receive(response, part, start, total, progress, shown_url(url))
    except exceptions.SSLError as error:
        raise ValueError(f"{shown_url(url)}: certificate verification failed ({_reason(error)})") from error
    except exceptions.ProxyError as error:
        raise _TransientError(f"the proxy does not answer ({_reason(error)})") from error
    except exceptions.Timeout as error:
        raise _TransientError("timed out") from error
    except (exceptions.ConnectionError, exceptions.ChunkedEncodingError, HTTPError) as error:
        raise _TransientError(f"the connection failed ({_reason(error)})") from error
    except exceptions.RequestException as error:
        raise ValueError(f"cannot download {shown_url(url)}: {_reason(error)}") from error


def _check_status(shown: str, response: Response, part: Path, retry: Retry) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 416:  # the part is longer than the file on the server
        part.unlink(missing_ok=True)
        raise _TransientError("the file on the server has changed")
    answered = f"{shown} answered {status} {response.reason}"
    if retry.is_retry("GET", status, "Retry-After" in response.headers):
        raise _TransientError(f"the server answered {status} {response.reason}", response)
    if status in AUTHORISATION_STATUS:
        raise ValueError(f"{answered}: it requires a login or a form; {USE_BROWSER}")
    raise ValueError(answered)


def _check_headers(
    url: str, response: Response, part: Path, start: int, size_bytes: int | None
) -> tuple[int, int]:
    """Offset of the response's first byte in the file, and the size of the whole file in bytes."""
    shown = shown_url(url)
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        refuse_web_page(b"<", shown, USE_BROWSER)
    if response.status_code == 206:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _TransientError("the server sent another range than requested")
    else:
        start = 0
    length = response.headers.get("Content-Length")
    if length is None and size_bytes is None:
        raise ValueError(
            f"{shown} sends no Content-Length, so a truncated file could not be detected: pass the file with "
            "--from FILE"
        )
    total = start + int(length) if length is not None else size_bytes
    assert total is not None
    if size_bytes is not None and total != size_bytes:
        raise ValueError(f"{shown} is another file: it has {total} bytes, expected {size_bytes}")
    free_bytes = shutil.disk_usage(part.parent).free
    if total - start > free_bytes:
        raise OSError(
            f"not enough space for {shown} in {part.parent}: {(total - start) / MEGABYTE:.0f} MB needed, "
            f"{free_bytes / MEGABYTE:.0f} MB free"
        )
    if not start:
        part.unlink(missing_ok=True)
    with write_atomically(_version_file(part)) as partial:
        partial.write_text(json.dumps(asdict(_Version(_digest(url), _tag(response)))), "utf-8")
    return start, total


def _receive(response: Response, part: Path, start: int, total: int, progress: Progress, shown: str) -> None:
    received = start
    progress(received, total)
    with part.open("ab" if start else "wb") as file:
        # `iter_content` would lose the bytes of a chunk in which the connection breaks.
        while chunk := response.raw.read1(CHUNK_BYTES):
            if not received:
                refuse_web_page(chunk, shown, USE_BROWSER)
            file.write(chunk)
            file.flush()  # a killed process is resumed from here
            received += len(chunk)
            progress(received, total)
    if received != total:
        raise _TransientError(f"received {received} of {total} bytes")


def _resumable_bytes(url: str, part: Path) -> int:
    """Size of the part if it belongs to this URL and the server can tell versions apart, else 0."""
    version = _read_version(part)
    return _size(part) if version.url_sha256 == _digest(url) and version.tag else 0


def _read_version(part: Path) -> _Version:
    with suppress(FileNotFoundError, TypeError, ValueError):  # unreadable counts as none
        return _Version(**json.loads(_version_file(part).read_text("utf-8")))
    return _Version("", "")


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _tag(response: Response) -> str:
    """What `If-Range` accepts: a strong ETag, else Last-Modified."""
    tag = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified", "")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def shown_url(url: str) -> str:
    """A URL without password and query, which may hold secrets."""
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return urlunsplit((parts.scheme, f"{parts.hostname or ''}{port}", parts.path, "", ""))


def _reason(error: Exception) -> str:
    """The innermost reason of an error, in one line."""
    while error.args and isinstance(reason := getattr(error.args[0], "reason", error.args[0]), Exception):
        error = reason
    text = str(error.args[0]) if error.args else type(error).__name__
    return text.splitlines()[0] if text else type(error).__name__
