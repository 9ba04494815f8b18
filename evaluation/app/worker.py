"""Renders the videos requested from the page, one at a time, in a background thread.

Torch is imported when the first job starts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final, Literal

from upath import UPath

from evaluation.animation.limited_reading import LimitedReader
from evaluation.animation.request import AnimateProgress, AnimateReport, AnimateRequest
from preprocessing.worker_limits import WorkerLimits
from storage.printable import display_text

JobState = Literal["running", "done", "failed", "cancelled"]
UNEXPECTED_ERROR: Final = "unexpected error; see the terminal that runs pdfgc app"
CANCEL_TIMEOUT_SECONDS: Final = 30.0  # loading a checkpoint cannot be interrupted


@dataclass(frozen=True)
class RenderJob:
    """State of one requested video."""

    name: str
    page: str = ""  # that requested it
    state: JobState = "running"
    progress: AnimateProgress | None = None
    report: AnimateReport | None = None  # set when done
    error: str = ""  # one line, set when failed


class JobCancelledError(Exception):
    """The job was cancelled."""


class WorkerBusyError(Exception):
    """Another job is running."""


class ForeignJobError(Exception):
    """The job is another page's."""


class RenderWorker:
    """Runs one `RenderJob` at a time and keeps the state of all of them; thread-safe."""

    def __init__(self, root: UPath, limits: WorkerLimits) -> None:
        self._root = root
        self._reader = LimitedReader(limits)  # of its own: pages go on looking at portraits meanwhile
        self._lock = Lock()
        self._cancel = Event()
        self._jobs: dict[str, RenderJob] = {}
        self._thread: Thread | None = None

    def start(self, job: RenderJob, request: AnimateRequest, on_end: Callable[[], None]) -> None:
        """Start a job.

        Args:
            job: its name is the key for `get`.
            request: what to render; error messages leave the folders of its inputs out.
            on_end: called when the job has ended, before its state changes.

        Raises:
            WorkerBusyError: another job is running.
        """
        with self._lock:
            if any(job.state == "running" for job in self._jobs.values()):
                raise WorkerBusyError("another video is being rendered: wait for it or cancel it")
            self._cancel.clear()
            self._jobs[job.name] = job
            self._thread = Thread(target=self._run, args=(job, request, on_end), name=f"render {job.name}")
            self._thread.start()

    def get(self, name: str) -> RenderJob | None:
        """State of a job; None if there is no job of that name."""
        with self._lock:
            return self._jobs.get(name)

    def running(self, page: str) -> RenderJob | None:
        """The running job of a page."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.state == "running" and job.page == page]
        return jobs[0] if jobs else None

    def cancel(self, name: str, page: str) -> None:
        """Cancel a job at its next frame if it is running; its partial output is removed.

        Raises:
            KeyError: there is no job of that name.
            ForeignJobError: another page requested it.
        """
        with self._lock:
            job = self._jobs[name]
            if job.page != page:
                raise ForeignJobError("this video was requested by another page, which alone can cancel it")
            if job.state == "running":
                self._cancel.set()

    def close(self) -> None:
        """Cancel the running job and wait until it has ended."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join(CANCEL_TIMEOUT_SECONDS)
        self._reader.close()

    def _run(self, job: RenderJob, request: AnimateRequest, on_end: Callable[[], None]) -> None:
        # An unexpected exception is printed by the thread; the job still has to end for the page.
        result = replace(job, state="failed", error=UNEXPECTED_ERROR)
        try:
            from evaluation.animation.animate import animate

            self._update(job.name, AnimateProgress("loading networks", 0, None))
            report = animate(
                request, lambda progress: self._update(job.name, progress), self._root, self._reader
            )
            result = replace(job, state="done", report=report)
        except JobCancelledError:
            result = replace(job, state="cancelled")
        except (ValueError, OSError, RuntimeError) as error:
            folders = {path.parent for path in request.inputs()}
            result = replace(job, state="failed", error=one_line_error(error, folders))
        finally:
            on_end()
            with self._lock:
                self._jobs[job.name] = result

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
    line = next((line.strip() for line in text.split("\n") if line.strip()), type(error).__name__)
    return display_text(line)
