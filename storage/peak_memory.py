"""Peak memory of a block of code, including all processes that it started."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import psutil

SAMPLE_SECONDS: Final = 1.0
"""Between samples; shorter peaks may be missed."""
SAMPLING_SHARE: Final = 0.005
"""Of the time, at most: a sample takes 10 to 20 ms per process."""


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
    """Sample the memory every `sample_seconds`, more rarely where that takes long, and at the end."""
    memory, ended = PeakMemory(), threading.Event()

    def sample_until_ended() -> None:
        wait_seconds = sample_seconds
        while not ended.wait(wait_seconds):
            started = time.thread_time()
            memory.sample()
            wait_seconds = max(sample_seconds, (time.thread_time() - started) / SAMPLING_SHARE)

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
