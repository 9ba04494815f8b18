"""The files below the root as web pages, read-only: reports, cards, pictures, videos, tables.

Mounted under `/files` in the web server of Dagster's UI, behind its guard. Only the folders in `SERVED` are
reachable: not Dagster's home, and nothing whose name starts with a dot. A link is followed only to a file in
them. Pages run no scripts, since they share their origin with the UI. A picture with `?inline` is no wider
than a table of the UI, which would cut it off.
"""

import html
import io
import mimetypes
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from upath import UPath

from evaluation.comparison.baseline_runs import BASELINES_FOLDER
from pipelines.cli.evaluation.app import OUTPUTS_NAME
from pipelines.cli.operations.demo import DEMO_FOLDER
from pipelines.web.locations import FILES, INLINE, PICTURES
from preprocessing.orchestration.reprocessing import PLAN_FOLDER
from preprocessing.sources.stored_catalog import CATALOG_FOLDER
from storage.objects import Entry, entries, is_local, local_path, read_bytes, read_range, size_bytes
from storage.publishing import ASSETS

SERVED: Final = (
    ASSETS,
    PICTURES,
    CATALOG_FOLDER,
    PLAN_FOLDER,
    BASELINES_FOLDER,
    OUTPUTS_NAME,
    DEMO_FOLDER,
)
NAMES_LISTED: Final = 2000
PICTURE_SUFFIXES: Final = frozenset({".png", ".jpg", ".webp"})
INLINE_WIDTH_PX: Final = 476  # of a value in the table of an asset's page at 1440 px
INLINE_QUALITY: Final = 90
TEXT_SUFFIXES: Final = frozenset({".json", ".jsonl", ".txt", ".log", ".csv", ".yaml"})
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src 'self' data:; "
    "font-src data:; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
PAGE: Final = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; }} th, td {{ border: 1px solid #ccc; padding: .2rem .6rem; }}
img, video {{ max-width: 100%; }} li {{ list-style: none; }} code {{ background: #f3f3f3; }}
</style>{body}
"""


class NoSuchFileError(Exception):
    """There is nothing to serve at a location."""


class RootFiles:
    """Serves the files below one root."""

    def __init__(self, root: UPath) -> None:
        self._root = root

    def route(self) -> Mount:
        """The route of a web server."""
        return Mount(FILES, routes=[Route("/{location:path}", self.respond, methods=["GET", "HEAD"])])

    async def respond(self, request: Request) -> Response:
        """Send a file (parts of it, if asked to), a page made of Markdown, or the list of a folder."""
        location = request.path_params["location"].strip("/")
        try:
            return await run_in_threadpool(self._response, location, request)
        except (NoSuchFileError, FileNotFoundError, NotADirectoryError):
            return PlainTextResponse(f"no such file below the root: {location}", 404, HEADERS)

    def _response(self, location: str, request: Request) -> Response:
        parts = require_served(location)
        if not is_local(self._root):
            inline = INLINE in request.query_params
            return self._from_bucket(location, request.headers.get("range", ""), inline=inline)
        path = self._resolved(parts)
        if path.is_dir():
            if not request.url.path.endswith("/"):
                return RedirectResponse(request.url.path + "/", 307, HEADERS)
            return _listing(location, entries(self._root, location) if parts else self._folders())
        if path.suffix == ".md":
            return _markdown_page(path.name, path.read_bytes())
        if INLINE in request.query_params and path.suffix in PICTURE_SUFFIXES:
            return _inline_picture(path.name, path.read_bytes())
        return FileResponse(path, headers=HEADERS, media_type=media_type(path.name))

    def _folders(self) -> list[Entry]:
        return [entry for entry in entries(self._root, "") if entry.name in SERVED]

    def _resolved(self, parts: tuple[str, ...]) -> Path:
        """The file itself, which no link may have led out of the served folders."""
        base = local_path(self._root).resolve()
        path = base.joinpath(*parts).resolve(strict=True)
        if path != base:
            if not path.is_relative_to(base):
                raise NoSuchFileError
            require_served(path.relative_to(base).as_posix())
        if not (path.is_file() or path.is_dir()):  # a pipe or a device
            raise NoSuchFileError
        return path

    def _from_bucket(self, location: str, wanted: str, *, inline: bool) -> Response:
        found = entries(self._root, location)
        if found or not location:
            return _listing(location, found if location else self._folders())
        path, name = self._root / location, location.rpartition("/")[2]
        if name.endswith(".md"):
            return _markdown_page(name, read_bytes(path))
        if inline and Path(name).suffix in PICTURE_SUFFIXES:
            return _inline_picture(name, read_bytes(path))
        return _part(path, wanted, media_type(name))


def require_served(location: str) -> tuple[str, ...]:
    """The parts of a location that may be served; () is the root itself.

    Raises:
        NoSuchFileError: it is in no served folder, or a part is no plain name.
    """
    parts = tuple(location.split("/")) if location else ()
    if any(part in ("", "..") or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        raise NoSuchFileError
    if parts and parts[0] not in SERVED:
        raise NoSuchFileError
    return parts


def media_type(name: str) -> str:
    """The media type of a file's name; tables of text are shown, not downloaded."""
    if Path(name).suffix in TEXT_SUFFIXES:
        return "text/plain; charset=utf-8"
    guessed, encoding = mimetypes.guess_type(name)
    return "application/octet-stream" if guessed is None or encoding else guessed


def _part(path: UPath, wanted: str, kind: str) -> Response:
    """The whole of an object, or the part that `Range: bytes=FIRST-LAST` names, as videos are played."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    headers = HEADERS | {"Accept-Ranges": "bytes"}
    if match is None:
        return Response(read_bytes(path), 200, headers, kind)
    size = size_bytes(path)
    first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    if first > last:
        return Response(b"", 416, headers | {"Content-Range": f"bytes */{size}"})
    part = headers | {"Content-Range": f"bytes {first}-{last}/{size}"}
    return Response(read_range(path, first, last + 1), 206, part, kind)


def _inline_picture(name: str, data: bytes) -> Response:
    """A picture scaled to `INLINE_WIDTH_PX` where it is wider; an animated one is sent as it is."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        if picture.width > INLINE_WIDTH_PX and not getattr(picture, "is_animated", False):
            height = round(picture.height * INLINE_WIDTH_PX / picture.width)
            scaled = picture.convert("RGB").resize((INLINE_WIDTH_PX, height), Image.Resampling.LANCZOS)
            output = io.BytesIO()
            scaled.save(output, picture.format, quality=INLINE_QUALITY)
            data = output.getvalue()
    return Response(data, 200, HEADERS, media_type(name))


def _listing(location: str, found: Iterable[Entry]) -> Response:
    names = [f"{entry.name}/" if entry.is_directory else entry.name for entry in found]
    names = [name for name in names if not name.startswith(".")]
    shown = [".."] * bool(location) + names[:NAMES_LISTED]
    lines = [f'<li><a href="{html.escape(quote(name))}">{html.escape(name)}</a>' for name in shown]
    more = f"<p>and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    title = html.escape(f"/{location}")
    page = PAGE.format(title=title, body=f"<h3>{title}</h3><ul>{''.join(lines)}</ul>{more}")
    return HTMLResponse(page, headers=HEADERS)


def _markdown_page(name: str, data: bytes) -> Response:
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(data.decode())
    return HTMLResponse(PAGE.format(title=html.escape(name), body=body), headers=HEADERS)
