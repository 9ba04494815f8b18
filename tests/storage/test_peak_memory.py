"""Memory at its peak, with child processes."""

import subprocess
import sys
import time

from storage.peak_memory import measured_memory

CHILD = "held = bytearray(200 * 2**20); print('held', flush=True); input()"


def test_peak_memory_includes_child_processes() -> None:
    with measured_memory(sample_seconds=0.01) as alone:
        pass
    with measured_memory(sample_seconds=0.01) as memory:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        while memory.peak_mebibytes < alone.peak_mebibytes + 190:
            time.sleep(0.01)  # ends once the child was seen; the suite's own time limit is the bound
        child.communicate("\n")
    assert memory.peak_mebibytes > alone.peak_mebibytes + 190


def test_peak_memory_stays_after_memory_is_freed() -> None:
    with measured_memory(sample_seconds=60.0) as memory:
        held = bytearray(100 * 2**20)
        memory.sample()
        peak = memory.peak_mebibytes
        del held
        memory.sample()
    assert memory.peak_mebibytes == peak
