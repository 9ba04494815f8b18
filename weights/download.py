"""One file from an address, gone on with where it was cut: ranges, retries, proxies of the environment.

What has arrived lies in the part file; beside it, what the server called that version of the file, so that
parts of two versions never meet.
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
from urllib3.exceptions import HTTPError

from storage.atomic import write_atomically
from weights.folder import MEGABYTE, refuse_web_page

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Takes bytes that are here, and of how many; None where the server does not say."""

PASSING_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
CLOSED_STATUS: Final = frozenset({401, 402, 403, 407, 451})
CONNECT_SECONDS: Final = 15.0
SILENCE_SECONDS: Final = 60.0  # of a server in the middle of a file
LONGEST_WAIT_SECONDS: Final = 60.0
PIECE_BYTES: Final = 1 << 18
BY_BROWSER: Final = "get the file in a browser and give it with --from FILE"


@dataclass(frozen=True)
class DownloadSettings:
    """How patient a download is."""

    waits_seconds: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    """Before each further try; the count begins anew whenever something has arrived."""
    silence_seconds: float = SILENCE_SECONDS


@dataclass(frozen=True)
class _Version:
    """What a server calls the file that a part is of."""

    url_sha256: str  # and not the address itself, in which a key may stand
    tag: str  # ETag or date of change; empty: the server tells neither


class _PassingError(Exception):
    """What may be over at the next try."""

    def __init__(self, why: str, wait_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.wait_seconds = wait_seconds


def download(
    url: str, part: Path, size_bytes: int | None, progress: Progress, settings: DownloadSettings | None = None
) -> None:
    """Fetch an address into a part file, going on with what lies there.

    Proxies are those of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    Args:
        url: http or https.
        part: where the bytes go; whole when this returns.
        size_bytes: of the file; None where it is not known.
        progress: is told of every piece.
        settings: of patience.

    Raises:
        ConnectionError: it could not be reached, or was cut every time; the part is kept.
        ValueError: it is no file: a web page, a wrong size, a status that no patience mends.
        OSError: there is no room for it.
    """
    settings = settings or DownloadSettings()
    part.parent.mkdir(parents=True, exist_ok=True)
    tries, waits, most = 0, settings.waits_seconds, _size(part)
    while True:
        try:
            _go_on(url, part, size_bytes, progress, settings)
        except _PassingError as error:
            tries = 0 if _size(part) > most else tries
            most = max(most, _size(part))
            if tries == len(waits):
                raise ConnectionError(
                    f"{shown_url(url)} cannot be fetched: {error}; {_size(part)} bytes are kept, "
                    "run the command again, or give the file with --from FILE"
                ) from error
            wait_seconds = max(waits[tries], error.wait_seconds)
            logger.warning("%s: %s; trying again in %.0f s", shown_url(url), error, wait_seconds)
            time.sleep(wait_seconds)
            tries += 1
        else:
            _version_file(part).unlink(missing_ok=True)
            return


def _go_on(
    url: str, part: Path, size_bytes: int | None, progress: Progress, settings: DownloadSettings
) -> None:
    """One request. Raises `_PassingError` where another may do better."""
    start = _resumable_bytes(url, part)
    if size_bytes is not None and start == size_bytes:
        return
    headers = {"Accept-Encoding": "identity"}  # bytes as they lie there, so that ranges fit
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": _read_version(part).tag}
    try:
        with requests.get(
            url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, settings.silence_seconds)
        ) as response:
            start, total = _begin(url, response, part, start, size_bytes)
            _receive(response, part, start, total, progress, shown_url(url))
    except exceptions.SSLError as error:
        raise ValueError(
            f"{shown_url(url)} cannot be trusted: its certificate does not hold ({_brief(error)})"
        ) from error
    except exceptions.ProxyError as error:
        raise _PassingError(f"the proxy does not answer ({_brief(error)})") from error
    except exceptions.Timeout as error:
        raise _PassingError("no answer in time") from error
    except (
        exceptions.ConnectionError,
        exceptions.ChunkedEncodingError,
        HTTPError,
    ) as error:
        raise _PassingError(f"the connection failed ({_brief(error)})") from error
    except exceptions.RequestException as error:
        raise ValueError(f"{shown_url(url)} cannot be fetched: {_brief(error)}") from error


def _begin(url: str, response: Response, part: Path, start: int, size_bytes: int | None) -> tuple[int, int]:
    """Where the answer's bytes begin, and how many the whole file has."""
    _check_status(shown_url(url), response, part)
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        refuse_web_page(b"<", shown_url(url), BY_BROWSER)
    if response.status_code == 206:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _PassingError("the server sent another part than was asked for")
    else:
        start = 0
    length = response.headers.get("Content-Length")
    if length is None and size_bytes is None:
        raise ValueError(
            f"{shown_url(url)} does not say how long the file is: a cut could not be told; use --from FILE"
        )
    total = start + int(length) if length is not None else size_bytes
    assert total is not None
    if size_bytes is not None and total != size_bytes:
        raise ValueError(f"{shown_url(url)} is another file: it has {total} bytes, should have {size_bytes}")
    free_bytes = shutil.disk_usage(part.parent).free
    if total - start > free_bytes:
        raise OSError(
            f"no room for {shown_url(url)} in {part.parent}: {(total - start) / MEGABYTE:.0f} MB are wanted, "
            f"{free_bytes / MEGABYTE:.0f} MB are free"
        )
    if not start:
        part.unlink(missing_ok=True)
    with write_atomically(_version_file(part)) as partial:
        partial.write_text(json.dumps(asdict(_Version(_digest(url), _tag(response)))), "utf-8")
    return start, total


def _check_status(shown: str, response: Response, part: Path) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 416:  # what lies here is longer than what lies there
        part.unlink(missing_ok=True)
        raise _PassingError("the file there has changed")
    if status in PASSING_STATUS:
        wait = response.headers.get("Retry-After", "")
        seconds = min(float(wait), LONGEST_WAIT_SECONDS) if wait.isdecimal() else 0.0
        raise _PassingError(f"the server answered {status} {response.reason}", seconds)
    if status in CLOSED_STATUS:
        raise ValueError(
            f"{shown} answered {status} {response.reason}: it wants a login or a form; {BY_BROWSER}"
        )
    raise ValueError(f"{shown} answered {status} {response.reason}")


def _receive(response: Response, part: Path, start: int, total: int, progress: Progress, shown: str) -> None:
    done = start
    progress(done, total)
    with part.open("ab" if start else "wb") as file:
        # What has come is kept even where the line is cut in the middle of a piece: `iter_content` loses it.
        while piece := response.raw.read1(PIECE_BYTES):
            if not done:
                refuse_web_page(piece, shown, BY_BROWSER)
            file.write(piece)
            file.flush()  # what a killed process leaves is gone on with
            done += len(piece)
            progress(done, total)
    if done != total:
        raise _PassingError(f"{done} of {total} bytes came")


def _resumable_bytes(url: str, part: Path) -> int:
    """How much of what lies there may be gone on with: parts of another version may not."""
    version = _read_version(part)
    if version.url_sha256 != _digest(url) or not version.tag:
        return 0
    return _size(part)


def _read_version(part: Path) -> _Version:
    with suppress(FileNotFoundError, TypeError, ValueError):  # unreadable is as good as none
        return _Version(**json.loads(_version_file(part).read_text("utf-8")))
    return _Version("", "")


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _tag(response: Response) -> str:
    """What `If-Range` may hold: a strong ETag, else the date of change."""
    tag = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified", "")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def shown_url(url: str) -> str:
    """An address without a password and without a query, which may be a key."""
    told = urlsplit(url)
    host = told.hostname or ""
    port = "" if told.port is None else f":{told.port}"
    return urlunsplit((told.scheme, host + port, told.path, "", ""))


def _brief(error: Exception) -> str:
    """The innermost reason, in one line."""
    while error.args and isinstance(reason := getattr(error.args[0], "reason", error.args[0]), Exception):
        error = reason
    told = str(error.args[0]) if error.args else type(error).__name__
    return told.splitlines()[0] if told else type(error).__name__
