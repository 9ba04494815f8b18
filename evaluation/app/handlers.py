"""Web application of `pdfgc app`: upload a portrait and drivers, set strengths, watch the rendered video.

Listens on localhost only, loads nothing from other hosts and refuses requests of other origins. A page has an
id of its own: its uploads end with it, and no other page can use them or cancel its video.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from upath import UPath

from evaluation.animation.checkpoint_abilities import (
    find_checkpoint,
    is_released,
    list_checkpoints,
    separates_gaze_from_blinks,
    side_px_of,
)
from evaluation.animation.limited_reading import READING_LIMITS, LimitedReader
from evaluation.animation.request import (
    LARGEST_STRENGTH,
    AnimateRequest,
    Device,
    OfficialNetworkPreset,
    Strengths,
)
from evaluation.app.examples import EXAMPLES, ExampleFiles
from evaluation.app.parsing import PAGE_HEADER, RequestError, json_object, page_id, upload_ids_by_role
from evaluation.app.puppets import NoPuppetError, PuppetStage, jpeg_of
from evaluation.app.same_origin import SameOriginMiddleware
from evaluation.app.uploads import MIB, UploadLimits, UploadRefusedError, UploadStore
from evaluation.app.worker import ForeignJobError, RenderJob, RenderWorker, WorkerBusyError, one_line_error
from preprocessing.worker_limits import WorkerLimits
from storage.printable import display_text, printable

STATIC_FOLDER: Final = Path(__file__).parent / "static"
STATIC_FILES: Final = {
    "/": "page.html",
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/puppet.js": "puppet.js",
}
LONGEST_NAME_BYTES: Final = 200  # of a stored file; file systems allow 255
QUALITY: Final = 88  # of the JPEG of a crop
LONGEST_SWEEP_SECONDS: Final = 30.0  # between two removals of expired uploads
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
    limits: UploadLimits = UploadLimits()
    reading: WorkerLimits = READING_LIMITS


class AppHandlers:
    """Request handlers."""

    def __init__(self, settings: AppSettings, uploads: UploadStore) -> None:
        self._settings, self._uploads = settings, uploads
        self.worker = RenderWorker(settings.root, settings.reading)
        self.examples = ExampleFiles()
        self.reader = LimitedReader(settings.reading)
        self._puppets = PuppetStage(settings.root, settings.device, self.reader)

    async def static_file(self, request: Request) -> Response:
        """Send the page, its script or its style sheet."""
        return FileResponse(STATIC_FOLDER / STATIC_FILES[request.url.path], headers=HEADERS)

    async def options(self, request: Request) -> Response:
        """List trained runs, strengths with their defaults, the output folder, and the page's running job."""
        running = self.worker.running(request.headers.get(PAGE_HEADER, ""))
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
            "largest_upload_bytes": self._settings.limits.file_mib * MIB,
            "running": None if running is None else running.name,
            "examples": [{"title": one.title, "files": dict(one.files)} for one in EXAMPLES],
        }
        return JSONResponse(body)

    async def checkpoint(self, request: Request) -> Response:
        """Describe a checkpoint: released or not, and whether gaze and blinks have separate strengths.

        The answer is the same for whatever is no checkpoint: it tells nothing about other files and folders.
        """
        body = await run_in_threadpool(self._describe_checkpoint, request.query_params.get("name", ""))
        return JSONResponse(body)

    def _describe_checkpoint(self, name: str) -> dict[str, bool | int | None]:
        root = self._settings.root
        if not find_checkpoint(root, name):
            return {"released": False, "separate_gaze": False, "side_px": None}
        return {
            "released": is_released(name),
            "separate_gaze": separates_gaze_from_blinks(root, name),
            "side_px": side_px_of(root, name),
        }

    async def upload_file(self, request: Request) -> Response:
        """Store an uploaded file under its own name and return its upload id."""
        page = page_id(request)
        name = printable(Path(request.query_params.get("name", "")).name)
        name = name.encode()[-LONGEST_NAME_BYTES:].decode(errors="ignore")
        if name in ("", ".."):
            raise RequestError("file name is missing")
        announced = request.headers.get("content-length", "")
        try:
            upload_id = self._uploads.create(page, name, int(announced) if announced.isdecimal() else 0)
        except (UploadRefusedError, OSError) as error:
            raise _upload_error(name, error) from error
        try:
            async for part in request.stream():
                self._uploads.write(upload_id, part)
            self._uploads.write(upload_id, b"")  # an empty file is a file too
            self._uploads.finish(upload_id)
        except (ClientDisconnect, UploadRefusedError, OSError) as error:
            self._uploads.remove([upload_id])
            raise _upload_error(name, error) from error
        return JSONResponse({"file": upload_id})

    async def crop(self, request: Request) -> Response:
        """Send the face crop that the networks will see of an uploaded file, or why there is none."""
        try:
            path = self._uploads.look(page_id(request), request.path_params["file"])
        except FileNotFoundError as error:
            raise RequestError(str(error), 404) from error
        try:
            crop = await run_in_threadpool(self.reader.crop, path)
        except (ValueError, OSError) as error:
            raise RequestError(one_line_error(error, [path.parent])) from error
        return Response(jpeg_of(crop, QUALITY), media_type="image/jpeg", headers=HEADERS)

    async def example_file(self, request: Request) -> Response:
        """Send a file of the examples, rendered at the first request."""
        path = await run_in_threadpool(self.examples.path, request.path_params["name"])
        return _error("no such example", 404) if path is None else FileResponse(path, headers=HEADERS)

    async def start_puppet(self, request: Request) -> Response:
        """Encode an uploaded portrait for the live puppet."""
        page, body = page_id(request), await json_object(request)
        checkpoint = body.get("checkpoint", "")
        if not isinstance(checkpoint, str) or (
            checkpoint and not find_checkpoint(self._settings.root, checkpoint)
        ):
            raise RequestError(f"{checkpoint!r} is no checkpoint that can move a portrait")
        try:
            path = self._uploads.look(page, str(body.get("file", "")))
        except FileNotFoundError as error:
            raise RequestError(str(error), 404) from error
        try:
            side_px = await run_in_threadpool(self._puppets.start, page, path, checkpoint)
        except (ValueError, OSError, RuntimeError) as error:
            raise RequestError(one_line_error(error, [path.parent])) from error
        return JSONResponse({"side_px": side_px})

    async def puppet_frame(self, request: Request) -> Response:
        """Send the puppet at the position in the body."""
        page, body = page_id(request), await json_object(request)
        try:
            jpeg = await run_in_threadpool(self._puppets.frame, page, body)
        except NoPuppetError as error:
            raise RequestError(str(error), 404) from error
        except ValueError as error:
            raise RequestError(one_line_error(error, [])) from error
        return Response(jpeg, media_type="image/jpeg", headers=HEADERS)

    async def create_video(self, request: Request) -> Response:
        """Start a job. Its uploads are removed when it ends, or at once if it cannot start."""
        page, body = page_id(request), await json_object(request)
        uploads = upload_ids_by_role(body)
        try:
            paths = self._uploads.use(page, set(uploads.values()))
        except FileNotFoundError as error:
            raise RequestError(str(error)) from error
        remove_uploads = partial(self._uploads.remove, paths)
        try:
            files = {role: paths[upload_id] for role, upload_id in uploads.items()}
            animate_request = await run_in_threadpool(self._animate_request, body, files)
            job = RenderJob(animate_request.output.stem, page)
            self.worker.start(job, animate_request, remove_uploads)
        except (ValueError, TypeError, FileNotFoundError, WorkerBusyError) as error:
            remove_uploads()
            raise RequestError(str(error), 409 if isinstance(error, WorkerBusyError) else 400) from error
        return JSONResponse({"name": job.name}, 202)

    async def remove_page(self, request: Request) -> Response:
        """Remove the uploads of a page that is gone; those of its running video stay until that ends."""
        self._uploads.remove_unused(request.path_params["page"])
        return JSONResponse({})

    async def job_status(self, request: Request) -> Response:
        """State, progress and result of a job."""
        job = self.worker.get(request.path_params["name"])
        return _error("no such video", 404) if job is None else JSONResponse(_job_json(job))

    async def cancel_job(self, request: Request) -> Response:
        """Cancel a job of the page."""
        try:
            self.worker.cancel(request.path_params["name"], page_id(request))
        except KeyError:
            return _error("no such video", 404)
        except ForeignJobError as error:
            return _error(str(error), 403)
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

    def _animate_request(self, body: Mapping[str, Any], files: Mapping[str, Path]) -> AnimateRequest:
        if "appearance" not in files:
            raise ValueError("portrait is missing: add an image with one face")
        checkpoint = body.get("checkpoint", "")
        if checkpoint != "" and not (
            isinstance(checkpoint, str) and find_checkpoint(self._settings.root, checkpoint)
        ):
            raise ValueError(
                f"{checkpoint!r} is neither a trained run, nor an exported model, nor a folder with the four "
                "released files"
            )
        output = free_output_path(self._settings.outputs, files["appearance"].stem)
        grid = output.with_name(f"{output.stem}-side-by-side.mp4") if body.get("grid") else None
        return AnimateRequest.model_validate(
            {
                **files,
                "output": output,
                "grid": grid,
                "checkpoint": checkpoint,
                "strengths": body.get("strengths", {}),
                "seconds": body.get("seconds"),
                "device": self._settings.device,
                "official_networks": self._settings.official_networks,
            }
        )


def build_app(settings: AppSettings) -> Starlette:
    """Build the application. Its temporary upload folder is removed at shutdown."""
    uploads = UploadStore(settings.limits)
    handlers = AppHandlers(settings, uploads)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        sweep = asyncio.create_task(_remove_expired_uploads(uploads))
        yield
        sweep.cancel()
        with suppress(asyncio.CancelledError):
            await sweep
        handlers.worker.close()
        handlers.reader.close()
        handlers.examples.close()
        uploads.close()

    routes: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        *(("GET", path, handlers.static_file) for path in STATIC_FILES),
        ("GET", "/options", handlers.options),
        ("GET", "/checkpoint", handlers.checkpoint),
        ("PUT", "/files", handlers.upload_file),
        ("GET", "/files/{file}/crop", handlers.crop),
        ("GET", "/examples/{name}", handlers.example_file),
        ("DELETE", "/pages/{page}", handlers.remove_page),
        ("POST", "/puppet", handlers.start_puppet),
        ("POST", "/puppet/frame", handlers.puppet_frame),
        ("POST", "/videos", handlers.create_video),
        ("GET", "/videos/{name}", handlers.job_status),
        ("DELETE", "/videos/{name}", handlers.cancel_job),
        ("GET", "/videos/{name}/{kind}.mp4", handlers.video_file),
    ]
    return Starlette(
        routes=[Route(path, handler, methods=[method]) for method, path, handler in routes],
        middleware=[Middleware(SameOriginMiddleware)],
        exception_handlers={RequestError: _answer_request_error},
        lifespan=lifespan,
    )


def free_output_path(folder: Path, portrait: str) -> Path:
    """Path of a new mp4, named after the time and the portrait."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{re.sub(r'[^A-Za-z0-9_-]+', '_', portrait) or 'portrait'}"
    path, number = folder / f"{stem}.mp4", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.mp4", number + 1
    return path


async def _remove_expired_uploads(uploads: UploadStore) -> None:
    while True:
        await asyncio.sleep(min(LONGEST_SWEEP_SECONDS, uploads.limits.expiry_seconds))
        await run_in_threadpool(uploads.remove_expired)


def _upload_error(name: str, error: Exception) -> RequestError:
    if isinstance(error, ClientDisconnect):
        return RequestError(f"upload of {name} was interrupted")
    if isinstance(error, OSError):
        return RequestError(f"cannot store {name}: {error.strerror}")
    return RequestError(str(error), 413)


async def _answer_request_error(_: Request, error: Exception) -> Response:
    return _error(str(error), error.status if isinstance(error, RequestError) else 400)


def _error(message: str, status: int = 400) -> JSONResponse:
    return JSONResponse({"error": display_text(message)}, status)


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
