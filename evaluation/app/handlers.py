"""Web application of `pdfgc app`: upload a portrait and drivers, set strengths, watch the rendered video.

Listens on localhost only and loads nothing from other hosts. Uploads are PUT requests and render requests are
JSON: both need a CORS preflight from another origin, which is never granted.
"""

import json
import re
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
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

from evaluation.animation.checkpoint_abilities import (
    is_released,
    list_checkpoints,
    separates_gaze_from_blinks,
)
from evaluation.animation.request import (
    LARGEST_STRENGTH,
    AnimateRequest,
    Device,
    OfficialNetworkPreset,
    Strengths,
)
from evaluation.app.worker import RenderJob, RenderWorker, WorkerBusyError

STATIC_FOLDER: Final = Path(__file__).parent / "static"
STATIC_FILES: Final = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
ROLES: Final = ("appearance", "lip", "pose", "eye", "expression")
UPLOAD_EXPIRY_SECONDS: Final = 3600.0  # files are uploaded right before the render request
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class AppSettings:
    """Settings of `pdfgc app`."""

    root: UPath  # with the training runs
    outputs: Path  # folder for rendered videos
    device: Device = "auto"
    official_networks: OfficialNetworkPreset = "official"


class AppHandlers:
    """Request handlers. Each uploaded file is stored in its own folder below `uploads`."""

    def __init__(self, settings: AppSettings, uploads: Path) -> None:
        self._settings, self._uploads = settings, uploads
        self.worker = RenderWorker(settings.root)

    async def static_file(self, request: Request) -> Response:
        """Send the page, its script or its style sheet."""
        return FileResponse(STATIC_FOLDER / STATIC_FILES[request.url.path], headers=HEADERS)

    async def options(self, _: Request) -> Response:
        """List trained runs, strengths with their defaults, and the output folder."""
        strengths = [
            {"name": name, "value": info.default, "description": info.description}
            for name, info in Strengths.model_fields.items()
        ]
        body = {
            "runs": list_checkpoints(self._settings.root),
            "root": str(self._settings.root),
            "outputs": str(self._settings.outputs),
            "strengths": strengths,
            "largest_strength": LARGEST_STRENGTH,
        }
        return JSONResponse(body)

    async def checkpoint(self, request: Request) -> Response:
        """Describe a checkpoint: released or not, and whether gaze and blinks have separate strengths."""
        name = request.query_params.get("name", "")
        body = {
            "released": is_released(name),
            "separate_gaze": await run_in_threadpool(separates_gaze_from_blinks, self._settings.root, name),
        }
        return JSONResponse(body)

    async def upload_file(self, request: Request) -> Response:
        """Store an uploaded file under its own name and return its upload id."""
        name = Path(request.query_params.get("name", "")).name[-100:]
        if not name:
            return _error("file name is missing")
        upload_id = uuid4().hex
        folder = self._uploads / upload_id
        folder.mkdir()
        try:
            with (folder / name).open("wb") as file:
                async for part in request.stream():
                    file.write(part)
        except ClientDisconnect:
            shutil.rmtree(folder)
            return _error(f"upload of {name} was interrupted")
        except OSError as error:
            shutil.rmtree(folder)
            return _error(f"cannot store {name}: {error.strerror}")
        return JSONResponse({"file": upload_id})

    async def create_video(self, request: Request) -> Response:
        """Start a job. Its uploads are removed when it ends, or at once if it cannot start."""
        if request.headers.get("content-type") != "application/json":
            return _error("content type must be application/json", 415)
        try:
            body = json.loads(await request.body())
            uploads = {role: str(upload_id) for role, upload_id in body["files"].items() if role in ROLES}
            folders = {upload_id: self._uploads / upload_id for upload_id in uploads.values()}
            if invalid := [name for name in folders if re.fullmatch(r"[0-9a-f]{32}", name) is None]:
                raise ValueError(f"upload ids must be 32 hex digits, got {invalid}")
        except (ValueError, KeyError, AttributeError) as error:
            return _error(f"invalid request: {error}")
        try:
            files = {role: _uploaded_file(folders[upload_id]) for role, upload_id in uploads.items()}
            animate_request = self._animate_request(body, files)
            name = animate_request.output.stem
            self.worker.start(name, animate_request, folders.values())
        except (ValueError, TypeError, FileNotFoundError, WorkerBusyError) as error:
            for folder in folders.values():
                shutil.rmtree(folder, ignore_errors=True)
            return _error(str(error), 409 if isinstance(error, WorkerBusyError) else 400)
        self._remove_expired_uploads(folders.values())
        return JSONResponse({"name": name}, 202)

    async def job_status(self, request: Request) -> Response:
        """State, progress and result of a job."""
        job = self.worker.get(request.path_params["name"])
        return _error("no such video", 404) if job is None else JSONResponse(_job_json(job))

    async def cancel_job(self, _: Request) -> Response:
        """Cancel the running job."""
        self.worker.cancel()
        return JSONResponse({})

    async def video_file(self, request: Request) -> Response:
        """Send a rendered video, or its side-by-side."""
        job = self.worker.get(request.path_params["name"])
        report = None if job is None else job.report
        paths = {"video": report.output, "grid": report.grid} if report is not None else {}
        path = paths.get(request.path_params["kind"])
        if path is None or not path.is_file():
            return _error("no such video", 404)
        return FileResponse(path, media_type="video/mp4", headers=HEADERS)

    def _remove_expired_uploads(self, used: Iterable[Path]) -> None:
        """Remove uploads of pages that were closed before they requested a video."""
        for folder in set(self._uploads.iterdir()) - set(used):
            if time.time() - folder.stat().st_mtime > UPLOAD_EXPIRY_SECONDS:
                shutil.rmtree(folder)

    def _animate_request(self, body: Mapping[str, Any], files: Mapping[str, Path]) -> AnimateRequest:
        if "appearance" not in files:
            raise ValueError("portrait is missing: add an image with one face")
        output = free_output_path(self._settings.outputs, files["appearance"].stem)
        grid = output.with_name(f"{output.stem}-side-by-side.mp4") if body.get("grid") else None
        return AnimateRequest.model_validate(
            {
                **files,
                "output": output,
                "grid": grid,
                "checkpoint": body.get("checkpoint", ""),
                "strengths": body.get("strengths", {}),
                "seconds": body.get("seconds"),
                "device": self._settings.device,
                "official_networks": self._settings.official_networks,
            }
        )


def build_app(settings: AppSettings) -> Starlette:
    """Build the application. Its temporary upload folder is removed at shutdown."""
    uploads = Path(tempfile.mkdtemp(prefix="pdfgc-app-"))
    handlers = AppHandlers(settings, uploads)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        handlers.worker.close()
        shutil.rmtree(uploads, ignore_errors=True)

    routes: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        *(("GET", path, handlers.static_file) for path in STATIC_FILES),
        ("GET", "/options", handlers.options),
        ("GET", "/checkpoint", handlers.checkpoint),
        ("PUT", "/files", handlers.upload_file),
        ("POST", "/videos", handlers.create_video),
        ("GET", "/videos/{name}", handlers.job_status),
        ("DELETE", "/videos/{name}", handlers.cancel_job),
        ("GET", "/videos/{name}/{kind}.mp4", handlers.video_file),
    ]
    return Starlette(
        routes=[Route(path, handler, methods=[method]) for method, path, handler in routes],
        # Against DNS rebinding: a foreign host name that resolves to this machine is refused.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        lifespan=lifespan,
    )


def free_output_path(folder: Path, portrait: str) -> Path:
    """Path of a new mp4, named after the time and the portrait."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{re.sub(r'[^A-Za-z0-9_-]+', '_', portrait) or 'portrait'}"
    path, number = folder / f"{stem}.mp4", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.mp4", number + 1
    return path


def _uploaded_file(folder: Path) -> Path:
    files = list(folder.iterdir()) if folder.is_dir() else []
    if len(files) != 1:
        raise FileNotFoundError("an uploaded file has expired: add it again")
    return files[0]


def _error(message: str, status: int = 400) -> JSONResponse:
    return JSONResponse({"error": message}, status)


def _job_json(job: RenderJob) -> dict[str, Any]:
    body: dict[str, Any] = {"name": job.name, "state": job.state, "error": job.error}
    if (progress := job.progress) is not None:
        body["progress"] = {"step": progress.step, "done": progress.done, "total": progress.total}
    if (report := job.report) is not None:
        rate = report.frames / report.wall_seconds
        body["report"] = {
            "summary": f"{report.seconds:.2f} s, {report.frames} frames at {report.side_px} px, "
            f"{report.checkpoint}, {rate:.1f} frames/s",
            "output": str(report.output),
            "grid": None if report.grid is None else str(report.grid),
            "notes": list(report.notes),
        }
    return body
