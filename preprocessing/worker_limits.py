"""Limits of a process that reads foreign files: memory and CPU time, watched from outside.

A codec does not return while it loops, so the process that waits for the result looks at the worker a few
times a second and kills it. CPU time is limited and not time, so that a busy machine or a slow disk ends
nothing. What one call allocates between two looks is limited by the kernel (`RLIMIT_DATA`: unlike
`RLIMIT_AS` it leaves out the address space that threads and mapped libraries reserve and never use).
"""

import ctypes
import os
import resource
import signal
from contextlib import suppress
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Final

import psutil
from pydantic import Field

from storage.settings import Settings

if TYPE_CHECKING:
    SharedCounters = ctypes.Array[ctypes.c_int64]
else:
    SharedCounters = ctypes.Array

OUT_OF_MEMORY: Final = "out_of_memory"
TOO_SLOW: Final = "too_slow"
LOOK_SECONDS: Final = 0.2
KERNEL_SHARE: Final = 1.25  # of the memory limit: the kernel's limit acts where a look comes too late
_PID, _PROGRESS, _DONE = range(3)

_shared: SharedCounters | None = None


class WorkerLimits(Settings):
    """What the process that reads one video may take; a video that takes more is refused."""

    memory_mebibytes: int = Field(
        default=4096,
        ge=256,
        le=1_048_576,
        description="Memory of the process that reads a video (resident), its code included",
    )
    stalled_cpu_seconds: int = Field(
        default=60,
        ge=1,
        le=86_400,
        description="CPU time without another packet or picture; a reader that loops is ended after it",
    )
    cpu_hours: float = Field(
        default=48.0, gt=0.0, le=10_000.0, description="CPU time for one video; more is refused as `too_slow`"
    )


def note_progress() -> None:
    """Say that another part of the item is done; outside of a limited worker it does nothing."""
    if _shared is not None:
        _shared[_PROGRESS] += 1


def note_done(count: int) -> None:
    """Say how much of the item is done, for whoever waits; outside of a limited worker it does nothing."""
    if _shared is not None:
        _shared[_DONE] = count


def limit_this_process(limits: WorkerLimits, shared: SharedCounters) -> None:
    """Called once in the worker."""
    global _shared  # noqa: PLW0603  (a process has one parent that watches it)
    _shared = shared
    shared[_PID] = os.getpid()
    allowed = int(limits.memory_mebibytes * KERNEL_SHARE) * 2**20
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:
        allowed = min(allowed, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


class WorkerWatch:
    """Ends one worker that exceeds its limits."""

    def __init__(self, limits: WorkerLimits, context: BaseContext) -> None:
        self.limits = limits
        self.shared: SharedCounters = context.RawArray(ctypes.c_int64, 3)
        self._began = self._stalled_since = 0.0  # CPU seconds of the worker
        self._progress = -1

    def begin(self) -> None:
        """An item begins."""
        self._progress = -1
        self.shared[_DONE] = 0
        cpu = self._cpu_seconds()
        self._began = self._stalled_since = 0.0 if cpu is None else cpu

    def end_if_over(self) -> tuple[str, str] | None:
        """Look at the worker; kill it if it takes too much.

        Returns:
            Reason and detail, or None.
        """
        if not self.shared[_PID]:
            return None
        exceeded = self._exceeded()
        if exceeded is not None:
            self.end()
        return exceeded

    def end(self) -> bool:
        """Kill the worker; False if it has not started yet."""
        if self.shared[_PID]:
            with suppress(ProcessLookupError):
                os.kill(self.shared[_PID], signal.SIGKILL)
        return bool(self.shared[_PID])

    @property
    def done(self) -> int:
        """The count of the last `note_done`, 0 before."""
        return self.shared[_DONE]

    def _exceeded(self) -> tuple[str, str] | None:
        limits = self.limits
        try:
            process = psutil.Process(self.shared[_PID])
            memory = process.memory_info().rss >> 20
        except psutil.NoSuchProcess:
            return None
        if memory > limits.memory_mebibytes:
            return OUT_OF_MEMORY, f"reading took {memory} MiB, need at most {limits.memory_mebibytes}"
        cpu = self._cpu_seconds()
        if cpu is None:
            return None
        if self._progress != self.shared[_PROGRESS]:
            self._progress, self._stalled_since = self.shared[_PROGRESS], cpu
        if cpu - self._stalled_since > limits.stalled_cpu_seconds:
            return TOO_SLOW, f"no progress in {limits.stalled_cpu_seconds} CPU seconds"
        if cpu - self._began > limits.cpu_hours * 3600:
            return TOO_SLOW, f"reading took more than {limits.cpu_hours:g} CPU hours"
        return None

    def _cpu_seconds(self) -> float | None:
        if not self.shared[_PID]:
            return None
        try:
            times = psutil.Process(self.shared[_PID]).cpu_times()
        except psutil.NoSuchProcess:
            return None
        return times.user + times.system
