"""Work in processes: results, exceptions, deaths."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from preprocessing.process_pool import Crashed, map_in_processes


def square_or_die(number: int) -> int:
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def refuse(number: int) -> int:
    raise ValueError(f"item {number}")


def process_of(_: int) -> int:
    return os.getpid()


def test_no_workers_is_this_process() -> None:
    assert list(map_in_processes(process_of, [1], workers=0)) == [(1, os.getpid())]
    assert list(map_in_processes(process_of, [], workers=2)) == []


def test_an_item_that_kills_its_process_costs_itself_alone_and_is_named() -> None:
    outcomes = dict(map_in_processes(square_or_die, [1, 2, -3, 4, 5], workers=2))
    assert isinstance(outcomes.pop(-3), Crashed)
    assert outcomes == {1: 1, 2: 4, 4: 16, 5: 25}


def test_an_exception_of_the_function_is_raised_here() -> None:
    with pytest.raises(ValueError, match="item 7"):
        list(map_in_processes(refuse, [7], workers=1))
    with pytest.raises(ValueError, match="-1 workers"):
        list(map_in_processes(refuse, [7], workers=-1))


def sleep_beside(path: Path) -> None:
    (path / str(os.getpid())).touch()
    time.sleep(600)


@pytest.mark.slow
def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from preprocessing.process_pool import map_in_processes\n"
        "from tests.preprocessing.test_process_pool import sleep_beside\n"
        "if __name__ == '__main__':\n"
        "    list(map_in_processes(sleep_beside, [Path(sys.argv[1])] * 2, workers=2))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    workers = wait_for_workers(tmp_path, parent, count=2)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    for process in alive:
        process.kill()
    assert alive == []


def wait_for_workers(folder: Path, parent: "subprocess.Popen[bytes]", count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 120
    while len(names := os.listdir(folder)) < count:  # noqa: PTH208  (names are all that is wanted)
        assert parent.poll() is None, "the parent ended before its workers began"
        assert time.monotonic() < deadline, f"{len(names)} of {count} workers after 120 s"
        time.sleep(0.1)
    return [psutil.Process(int(name)) for name in names]
