"""Makes the videos that the web page orders, one at a time, in a thread. Loads torch only then."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final, Literal

from upath import UPath

from evaluation.animation.request import AnimateOrder, AnimateProgress, AnimateReport

State = Literal["making", "made", "failed", "stopped"]
UNTOLD: Final = "something unforeseen went wrong; the terminal of pdfgc app shows what"
STOPPING_SECONDS: Final = 30.0  # loading a checkpoint is not interrupted


@dataclass(frozen=True)
class Making:
    """A video that was ordered, as it stands now."""

    name: str
    state: State = "making"
    progress: AnimateProgress | None = None
    report: AnimateReport | None = None  # once it is made
    error: str = ""  # one line, once it has failed


class StoppedError(Exception):
    """The person pressed stop."""


class BusyError(Exception):
    """A video is being made."""


class Maker:
    """Makes videos and knows how each stands; safe to ask from any thread."""

    def __init__(self, root: UPath) -> None:
        self._root = root
        self._lock = Lock()
        self._stop = Event()
        self._makings: dict[str, Making] = {}
        self._thread: Thread | None = None

    def start(self, name: str, order: AnimateOrder, folders: Iterable[Path]) -> None:
        """Begin a video.

        Args:
            name: what it is asked for by.
            order: what to make.
            folders: of uploaded files, removed when the video is made or has failed; messages leave
                them out.

        Raises:
            BusyError: one is being made; nothing was begun.
        """
        with self._lock:
            if any(making.state == "making" for making in self._makings.values()):
                raise BusyError("a video is being made: wait for it, or stop it")
            self._stop.clear()
            self._makings[name] = Making(name)
            self._thread = Thread(target=self._make, args=(name, order, tuple(folders)), name=f"make {name}")
            self._thread.start()

    def look(self, name: str) -> Making | None:
        """How a video stands; None if none of that name was ordered."""
        with self._lock:
            return self._makings.get(name)

    def stop(self) -> None:
        """End the one that is being made at its next frame; nothing of it is left."""
        self._stop.set()

    def close(self) -> None:
        """Stop, and wait until it has."""
        self.stop()
        if self._thread is not None:
            self._thread.join(STOPPING_SECONDS)

    def _make(self, name: str, order: AnimateOrder, folders: tuple[Path, ...]) -> None:
        # An error that nobody foresaw is printed by the thread; the page must not wait for ever.
        outcome = Making(name, "failed", error=UNTOLD)
        try:
            from evaluation.animation.animate import animate

            self._tell(name, AnimateProgress("loading the networks", 0, None))
            report = animate(order, lambda progress: self._tell(name, progress), self._root)
            outcome = Making(name, "made", report=report)
        except StoppedError:
            outcome = Making(name, "stopped")
        except (ValueError, OSError, RuntimeError) as error:
            outcome = Making(name, "failed", error=readable(error, folders))
        finally:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
            with self._lock:
                self._makings[name] = outcome

    def _tell(self, name: str, progress: AnimateProgress) -> None:
        if self._stop.is_set():
            raise StoppedError
        with self._lock:
            self._makings[name] = replace(self._makings[name], progress=progress)


def readable(error: Exception, folders: Iterable[Path]) -> str:
    """An error as one line, with the uploaded files' own names."""
    text = str(error)
    for folder in folders:
        text = text.replace(f"{folder}/", "")
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
