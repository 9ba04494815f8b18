"""Renders the videos requested from the page, one at a time, in a background thread.

Torch is imported when the first job starts.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final, Literal

from upath import UPath

from evaluation.animation.request import AnimateProgress, AnimateReport, AnimateRequest

JobState = Literal["running", "done", "failed", "cancelled"]
UNEXPECTED_ERROR: Final = "unexpected error; see the terminal that runs pdfgc app"
CANCEL_TIMEOUT_SECONDS: Final = 30.0  # loading a checkpoint cannot be interrupted


@dataclass(frozen=True)
class RenderJob:
    """State of one requested video."""

    name: str
    state: JobState = "running"
    progress: AnimateProgress | None = None
    report: AnimateReport | None = None  # set when done
    error: str = ""  # one line, set when failed


class JobCancelledError(Exception):
    """The job was cancelled."""


class WorkerBusyError(Exception):
    """Another job is running."""


class RenderWorker:
    """Runs one `RenderJob` at a time and keeps the state of all of them; thread-safe."""

    def __init__(self, root: UPath) -> None:
        self._root = root
        self._lock = Lock()
        self._cancel = Event()
        self._jobs: dict[str, RenderJob] = {}
        self._thread: Thread | None = None

    def start(self, name: str, request: AnimateRequest, upload_folders: Iterable[Path]) -> None:
        """Start a job.

        Args:
            name: key for `get`.
            request: what to render.
            upload_folders: removed when the job ends; error messages leave their paths out.

        Raises:
            WorkerBusyError: another job is running.
        """
        with self._lock:
            if any(job.state == "running" for job in self._jobs.values()):
                raise WorkerBusyError("another video is being rendered: wait for it or cancel it")
            self._cancel.clear()
            self._jobs[name] = RenderJob(name)
            arguments = (name, request, tuple(upload_folders))
            self._thread = Thread(target=self._run, args=arguments, name=f"render {name}")
            self._thread.start()

    def get(self, name: str) -> RenderJob | None:
        """State of a job; None if there is no job of that name."""
        with self._lock:
            return self._jobs.get(name)

    def cancel(self) -> None:
        """Cancel the running job at its next frame; its partial output is removed."""
        self._cancel.set()

    def close(self) -> None:
        """Cancel the running job and wait until it has ended."""
        self.cancel()
        if self._thread is not None:
            self._thread.join(CANCEL_TIMEOUT_SECONDS)

    def _run(self, name: str, request: AnimateRequest, upload_folders: tuple[Path, ...]) -> None:
        # An unexpected exception is printed by the thread; the job still has to end for the page.
        result = RenderJob(name, "failed", error=UNEXPECTED_ERROR)
        try:
            from evaluation.animation.animate import animate

            self._update(name, AnimateProgress("loading networks", 0, None))
            report = animate(request, lambda progress: self._update(name, progress), self._root)
            result = RenderJob(name, "done", report=report)
        except JobCancelledError:
            result = RenderJob(name, "cancelled")
        except (ValueError, OSError, RuntimeError) as error:
            result = RenderJob(name, "failed", error=one_line_error(error, upload_folders))
        finally:
            for folder in upload_folders:
                shutil.rmtree(folder, ignore_errors=True)
            with self._lock:
                self._jobs[name] = result

    def _update(self, name: str, progress: AnimateProgress) -> None:
        if self._cancel.is_set():
            raise JobCancelledError
        with self._lock:
            self._jobs[name] = replace(self._jobs[name], progress=progress)


def one_line_error(error: Exception, upload_folders: Iterable[Path]) -> str:
    """First line of an error's message, with uploaded files under their original names."""
    text = str(error)
    for folder in upload_folders:
        text = text.replace(f"{folder}/", "")
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
