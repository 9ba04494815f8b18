"""How much memory a piece of work took at its peak, with all processes that it started."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import psutil

LOOK_SECONDS: Final = 1.0
"""Between two looks, each of some milliseconds a process: shorter peaks may be missed."""


class MemoryWatch:
    """The largest sum seen so far."""

    def __init__(self) -> None:
        self.peak_mebibytes = 0.0

    def look(self) -> None:
        """Add up this process and all below it now."""
        process = psutil.Process()
        total = sum(_bytes(one) for one in (process, *process.children(recursive=True)))
        self.peak_mebibytes = max(self.peak_mebibytes, round(total / 2**20, 1))


@contextmanager
def watched_memory(look_seconds: float = LOOK_SECONDS) -> Generator[MemoryWatch]:
    """Look at the memory at the start, every `look_seconds` and at the end of the block."""
    watch, ended = MemoryWatch(), threading.Event()

    def look_on() -> None:
        while not ended.wait(look_seconds):
            watch.look()

    watch.look()
    thread = threading.Thread(target=look_on, name="memory watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()
        watch.look()


def _bytes(process: psutil.Process) -> int:
    """Memory of a process; what it shares with others is counted in parts, where the system tells (Linux)."""
    try:
        told = process.memory_full_info()
        return getattr(told, "pss", told.rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0  # it has just ended, or belongs to another user
