"""Work in processes: results, exceptions, processes that die."""

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


def touch(path: Path) -> None:
    path.touch()
    time.sleep(0.5)


def process_of(_: int) -> int:
    return os.getpid()


def test_map_without_workers_runs_in_this_process() -> None:
    assert list(map_in_processes(process_of, [1], workers=0)) == [(1, os.getpid())]
    assert list(map_in_processes(process_of, [], workers=2)) == []


def test_map_reports_only_the_item_whose_process_died() -> None:
    outcomes = dict(map_in_processes(square_or_die, [1, 2, -3, -6, 4, 5], workers=2))
    assert isinstance(outcomes.pop(-3), Crashed)
    assert isinstance(outcomes.pop(-6), Crashed)
    assert outcomes == {1: 1, 2: 4, 4: 16, 5: 25}


def die_the_first_time(path: Path) -> str:
    """As if the system killed it for want of memory, which an hour later there is."""
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def test_map_tries_an_item_again_whose_process_was_killed(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    assert dict(map_in_processes(die_the_first_time, paths, workers=2)) == {path: path.name for path in paths}


def die_twice_alone(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def test_map_gives_up_after_two_deaths_of_a_lone_worker(tmp_path: Path) -> None:
    ((_, outcome),) = map_in_processes(die_twice_alone, [tmp_path], workers=1)
    assert isinstance(outcome, Crashed)
    assert len(list(tmp_path.iterdir())) == 2


def kill_the_crowd(folder: Path) -> str:
    """Die while another process works in this folder, as two that do not fit into memory together."""
    mark = folder / str(os.getpid())
    mark.touch()
    deadline = time.monotonic() + 0.4
    while time.monotonic() < deadline:
        if len(os.listdir(folder)) > 1:  # noqa: PTH208  (only the names are needed)
            mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
    mark.unlink()
    return "done"


def test_map_goes_on_with_fewer_workers_after_a_death(tmp_path: Path) -> None:
    outcomes = [outcome for _, outcome in map_in_processes(kill_the_crowd, [tmp_path] * 5, workers=3)]
    assert outcomes == ["done"] * 5


def test_map_drops_the_items_left_after_an_exception(tmp_path: Path) -> None:
    paths = [tmp_path / "missing" / "folder", *(tmp_path / name for name in "abc")]
    with pytest.raises(FileNotFoundError):
        list(map_in_processes(touch, paths, workers=1))
    assert len(list(tmp_path.iterdir())) < 3


def test_map_raises_the_functions_exception() -> None:
    with pytest.raises(ValueError, match="item 7"):
        list(map_in_processes(refuse, [7], workers=1))
    with pytest.raises(ValueError, match="workers must be >= 0, got -1"):
        list(map_in_processes(refuse, [7], workers=-1))


def sleep_beside(path: Path) -> None:
    (path / str(os.getpid())).touch()
    time.sleep(600)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
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
    while len(names := os.listdir(folder)) < count:  # noqa: PTH208  (only the names are needed)
        assert parent.poll() is None, "the parent ended before its workers started"
        assert time.monotonic() < deadline, f"{len(names)} of {count} workers after 120 s"
        time.sleep(0.1)
    return [psutil.Process(int(name)) for name in names]
