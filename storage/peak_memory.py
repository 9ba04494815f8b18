"""Peak memory of a block of code, including all processes that it started."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import psutil

SAMPLE_SECONDS: Final = 1.0
"""Between samples, each of which takes some milliseconds per process; shorter peaks may be missed."""


class PeakMemory:
    """The largest sample so far."""

    def __init__(self) -> None:
        self.peak_mebibytes = 0.0

    def sample(self) -> None:
        """Measure this process and all its descendants."""
        process = psutil.Process()
        total = sum(_bytes(member) for member in (process, *process.children(recursive=True)))
        self.peak_mebibytes = max(self.peak_mebibytes, round(total / 2**20, 1))


@contextmanager
def measured_memory(sample_seconds: float = SAMPLE_SECONDS) -> Generator[PeakMemory]:
    """Sample the memory at the start, every `sample_seconds` and at the end of the block."""
    memory, ended = PeakMemory(), threading.Event()

    def sample_until_ended() -> None:
        while not ended.wait(sample_seconds):
            memory.sample()

    memory.sample()
    thread = threading.Thread(target=sample_until_ended, name="peak memory", daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()
        memory.sample()


def _bytes(process: psutil.Process) -> int:
    """Memory of a process; on Linux shared memory is divided among the processes that share it."""
    try:
        memory = process.memory_full_info()
        return getattr(memory, "pss", memory.rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0  # ended meanwhile, or of another user
