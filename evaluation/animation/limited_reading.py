"""Read portraits, drivers and sounds of strangers in a process with limits of memory and CPU time.

A codec that loops, runs out of memory or into a segmentation fault ends that process alone. Drivers are
decoded a second time where their crops are used: by then each was read whole.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluation.animation.drivers import FaceDriver, FaceFollower
from evaluation.animation.media import UnusableInputError, read_sound
from preprocessing.process_pool import CRASHED, Crashed, LimitedProcess, ignore
from preprocessing.worker_limits import WorkerLimits, note_done

READING_LIMITS: Final = WorkerLimits(cpu_hours=2.0)
"""Of the process that opens a file, where no setting says more."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class LimitedReader:
    """As `FaceFollower` and `read_sound`, in a process of its own, which is replaced when it ended.

    A context manager; thread-safe, one file after the other.
    """

    def __init__(self, limits: WorkerLimits) -> None:
        self._process = LimitedProcess(limits)

    def __enter__(self) -> "LimitedReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def follow(
        self, path: Path, maximum_frames: int | None = None, progress: Callable[[int], None] = ignore
    ) -> FaceDriver:
        """As `FaceFollower.follow`; an exception of `progress` ends the reading."""
        return self.call(path, partial(_follow, maximum_frames=maximum_frames), path, progress)

    def crop(self, path: Path) -> NDArray[np.uint8]:
        """As `FaceFollower.crop`."""
        return self.call(path, _crop, path)

    def read_sound(self, path: Path) -> NDArray[np.float32]:
        """As `read_sound`."""
        return self.call(path, read_sound, path)

    def call(
        self,
        path: Path,
        function: Callable[[Item], Result],
        item: Item,
        progress: Callable[[int], None] = ignore,
    ) -> Result:
        """The result of a function that reads a file.

        Raises:
            UnusableInputError: the process ended, as it takes too much or died.
        """
        outcome = self._process.call(function, item, progress)
        if isinstance(outcome, Crashed):
            died = "its codec failed, or memory ran out" if outcome.reason == CRASHED else outcome.detail
            raise UnusableInputError(f"{path}: reading it was ended: {died}")
        return outcome

    def close(self) -> None:
        """End the process."""
        self._process.close()


@cache
def worker_follower() -> FaceFollower:
    """The follower of the process that reads, for a file at a time."""
    return FaceFollower()


def _follow(path: Path, maximum_frames: int | None) -> FaceDriver:
    return worker_follower().follow(path, maximum_frames, note_done)


def _crop(path: Path) -> NDArray[np.uint8]:
    return worker_follower().crop(path)
