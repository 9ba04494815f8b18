"""Memory at its peak, with child processes."""

import subprocess
import sys
import time

from storage.peak_memory import watched_memory

CHILD = "held = bytearray(200 * 2**20); print('held', flush=True); input()"


def test_peak_memory_includes_child_processes() -> None:
    with watched_memory(look_seconds=0.01) as alone:
        pass
    with watched_memory(look_seconds=0.01) as watch:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        while watch.peak_mebibytes < alone.peak_mebibytes + 190:
            time.sleep(0.01)  # ends once the child was seen; the suite's own time limit is the bound
        child.communicate("\n")
    assert watch.peak_mebibytes > alone.peak_mebibytes + 190


def test_peak_memory_stays_after_memory_is_freed() -> None:
    with watched_memory(look_seconds=60.0) as watch:
        held = bytearray(100 * 2**20)
        watch.look()
        peak = watch.peak_mebibytes
        del held
        watch.look()
    assert watch.peak_mebibytes == peak
