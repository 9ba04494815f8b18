"""The page of `pdfgc app`: drop a portrait and drivers, move the strengths, see the video.

It is served to this machine alone and asks nothing of any other. Files come as the bodies of PUT requests,
orders as JSON; another site's script can send neither without leave, which is never given.
"""

import json
import re
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from upath import UPath

from evaluation.animation.checkpoint_abilities import is_released, parts_gaze_from_blinks
from evaluation.animation.request import (
    LARGEST_STRENGTH,
    AnimateOrder,
    Device,
    OfficialNetworkPreset,
    Strengths,
)
from evaluation.app.worker import BusyError, Maker, Making
from storage.publishing import current
from training.stage_catalog import RENDERING_STAGE

FILES: Final = Path(__file__).parent / "static"
PAGES: Final = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
ROLES: Final = ("appearance", "lip", "pose", "eye", "expression")
ABANDONED_SECONDS: Final = 3600.0  # a file is sent right before its order
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class PageSettings:
    """What the page serves."""

    root: UPath  # of the training runs
    outputs: Path  # folder that the videos are written to
    device: Device = "auto"
    official_networks: OfficialNetworkPreset = "official"


class WebPage:
    """The page's requests; uploaded files lie in a temporary folder that ends with it."""

    def __init__(self, settings: PageSettings, uploads: Path) -> None:
        self._settings, self._uploads = settings, uploads
        self.maker = Maker(settings.root)

    async def show(self, request: Request) -> Response:
        """The page and its two files."""
        return FileResponse(FILES / PAGES[request.url.path], headers=HEADERS)

    async def choices(self, _: Request) -> Response:
        """What can be chosen: the trained runs, the strengths, and where videos go."""
        strengths = [
            {"name": entry.name, "value": entry.default, "told": entry.metadata["description"]}
            for entry in fields(Strengths)
        ]
        told = {
            "runs": trained_runs(self._settings.root),
            "root": str(self._settings.root),
            "outputs": str(self._settings.outputs),
            "strengths": strengths,
            "largest": LARGEST_STRENGTH,
        }
        return JSONResponse(told)

    async def checkpoint(self, request: Request) -> Response:
        """Whether a checkpoint is a folder, of released files, and whether it tells gaze from blinks."""
        name = request.query_params.get("name", "")
        told = {
            "released": is_released(name),
            "apart": await run_in_threadpool(parts_gaze_from_blinks, self._settings.root, name),
        }
        return JSONResponse(told)

    async def take_file(self, request: Request) -> Response:
        """Keep an uploaded file under its own name; the answer is what it is asked for by."""
        name = Path(request.query_params.get("name", "")).name[-100:]
        if not name:
            return _refusal("the file has no name")
        token = uuid4().hex
        folder = self._uploads / token
        folder.mkdir()
        try:
            with (folder / name).open("wb") as file:
                async for part in request.stream():
                    file.write(part)
        except ClientDisconnect:
            shutil.rmtree(folder)
            return _refusal(f"{name} came in part only")
        except OSError as error:
            shutil.rmtree(folder)
            return _refusal(f"{name} cannot be kept: {error.strerror}")
        return JSONResponse({"file": token})

    async def order(self, request: Request) -> Response:
        """Begin the video that is asked for; its uploaded files are removed in any case."""
        if request.headers.get("content-type") != "application/json":
            return _refusal("an order is JSON", 415)
        try:
            asked = json.loads(await request.body())
            files = {role: str(token) for role, token in asked["files"].items() if role in ROLES}
            folders = {token: self._uploads / token for token in files.values()}
            if wrong := [token for token in folders if re.fullmatch(r"[0-9a-f]{32}", token) is None]:
                raise ValueError(f"no files were sent as {wrong}")
        except (ValueError, KeyError, AttributeError) as error:
            return _refusal(f"the order cannot be read: {error}")
        try:
            order = self._order(asked, {role: _only_file(folders[token]) for role, token in files.items()})
            self.maker.start(order.output.stem, order, folders.values())
        except (ValueError, TypeError, FileNotFoundError, BusyError) as error:
            for folder in folders.values():
                shutil.rmtree(folder, ignore_errors=True)
            return _refusal(str(error), 409 if isinstance(error, BusyError) else 400)
        self._remove_abandoned(folders.values())
        return JSONResponse({"name": order.output.stem}, 202)

    async def look(self, request: Request) -> Response:
        """How a video stands."""
        making = self.maker.look(request.path_params["name"])
        return _refusal("no such video", 404) if making is None else JSONResponse(_told(making))

    async def stop(self, _: Request) -> Response:
        """End the one that is being made."""
        self.maker.stop()
        return JSONResponse({})

    async def video(self, request: Request) -> Response:
        """A video that was made, or its side-by-side."""
        making = self.maker.look(request.path_params["name"])
        report = None if making is None else making.report
        which = {"video": report.output, "grid": report.grid} if report is not None else {}
        path = which.get(request.path_params["which"])
        if path is None or not path.is_file():
            return _refusal("no such video", 404)
        return FileResponse(path, media_type="video/mp4", headers=HEADERS)

    def _remove_abandoned(self, used: Iterable[Path]) -> None:
        """Remove files of pages that were closed before they ordered a video."""
        for folder in set(self._uploads.iterdir()) - set(used):
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder)

    def _order(self, asked: Mapping[str, Any], files: Mapping[str, Path]) -> AnimateOrder:
        if "appearance" not in files:
            raise ValueError("a portrait is needed: drop a picture with one face")
        output = free_path(self._settings.outputs, files["appearance"].stem)
        known = {entry.name for entry in fields(Strengths)}
        given = {name: float(value) for name, value in asked.get("strengths", {}).items() if name in known}
        seconds = asked.get("seconds")
        return AnimateOrder(
            appearance=files["appearance"],
            output=output,
            lip=files.get("lip"),
            pose=files.get("pose"),
            eye=files.get("eye"),
            expression=files.get("expression"),
            checkpoint=str(asked.get("checkpoint", "default")),
            grid=output.with_name(f"{output.stem}-side-by-side.mp4") if asked.get("grid") else None,
            strengths=Strengths(**given),
            seconds=None if seconds is None else float(seconds),
            device=self._settings.device,
            official_networks=self._settings.official_networks,
        )


def build_app(settings: PageSettings) -> Starlette:
    """The application; its temporary folder is made when it starts and removed when it ends."""
    uploads = Path(tempfile.mkdtemp(prefix="pdfgc-app-"))
    page = WebPage(settings, uploads)

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncGenerator[None]:
        yield
        page.maker.close()
        shutil.rmtree(uploads, ignore_errors=True)

    routes: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        *(("GET", path, page.show) for path in PAGES),
        ("GET", "/choices", page.choices),
        ("GET", "/checkpoint", page.checkpoint),
        ("PUT", "/files", page.take_file),
        ("POST", "/videos", page.order),
        ("GET", "/videos/{name}", page.look),
        ("DELETE", "/videos/{name}", page.stop),
        ("GET", "/videos/{name}/{which}.mp4", page.video),
    ]
    return Starlette(
        routes=[Route(path, answer, methods=[method]) for method, path, answer in routes],
        # A name that an attacker's server gives this machine is not this machine's.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        lifespan=life,
    )


def trained_runs(root: UPath) -> list[str]:
    """Runs under the root that have trained the last stage."""
    folders = sorted(folder.name for folder in (root / "assets" / RENDERING_STAGE).glob("*"))
    return [name for name in folders if current(root, RENDERING_STAGE, name) is not None]


def free_path(folder: Path, portrait: str) -> Path:
    """An mp4 that is not there yet, named after the time and the portrait."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{re.sub(r'[^A-Za-z0-9_-]+', '_', portrait) or 'portrait'}"
    path, number = folder / f"{stem}.mp4", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.mp4", number + 1
    return path


def _only_file(folder: Path) -> Path:
    files = list(folder.iterdir()) if folder.is_dir() else []
    if len(files) != 1:
        raise FileNotFoundError("a file of the order is gone: drop it again")
    return files[0]


def _refusal(line: str, status: int = 400) -> JSONResponse:
    return JSONResponse({"error": line}, status)


def _told(making: Making) -> dict[str, Any]:
    told: dict[str, Any] = {"name": making.name, "state": making.state, "error": making.error}
    if (progress := making.progress) is not None:
        told["progress"] = {"step": progress.step, "done": progress.done, "total": progress.total}
    if (report := making.report) is not None:
        rate = report.frames / report.wall_seconds
        made = f"{report.seconds:.2f} s, {report.frames} frames of {report.side_px} px by {report.checkpoint}"
        told["report"] = {
            "made": f"{made}, {rate:.1f} frames a second",
            "output": str(report.output),
            "grid": None if report.grid is None else str(report.grid),
            "notes": list(report.notes),
        }
    return told
