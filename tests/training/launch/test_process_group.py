"""Processes that ignore signals, and every way in which their caller can end."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from training.launch.process_group import CommandFailedError, Ending, first_error, run_command
from training.launch.signals import SUPERVISOR_VARIABLE, die_with_parent

TIMEOUT_SECONDS = 60.0
ENDING = Ending(grace_seconds=0.5)


def stubborn(folder: Path, manner: str) -> list[str]:
    return [sys.executable, "-m", "tests.factories.training.stubborn_process", str(folder), manner]


def processes(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.pid")]


def wait_until(condition: Callable[[], bool], description: str) -> None:
    give_up_at = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, f"timeout: {description}"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_no_process(folder: Path) -> None:
    assert len(processes(folder)) == 2
    wait_until(lambda: not any(map(is_running, processes(folder))), "the end of all processes")
    assert (folder / "progress.txt").read_text() == "not finished"


def supervisor_of(folder: Path) -> psutil.Process:
    """The supervisor of both processes."""
    for process in processes(folder):
        for ancestor in psutil.Process(process).parents():
            if "training.launch.supervisor" in ancestor.cmdline():
                return ancestor
    raise AssertionError("no supervisor")


LEAVES_A_FOLDER = """
import os, pathlib, sys, tempfile
left, kept = tempfile.mkdtemp(prefix="pymp-"), os.environ["TORCHINDUCTOR_CACHE_DIR"]
pathlib.Path(sys.argv[1]).write_text(left + "\\n" + kept)
os._exit(0)
"""


def run_that_leaves_a_folder(answer: Path) -> tuple[Path, Path]:
    """What the command left, and where it would keep compiled code."""
    run_command([sys.executable, "-c", LEAVES_A_FOLDER, str(answer)], ending=ENDING)
    left, kept = answer.read_text().split("\n")
    return Path(left), Path(kept)


def test_temporary_files_of_a_command_go_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="t-") as name:
        folder = Path(name)
        monkeypatch.setattr(tempfile, "tempdir", name)
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        left, kept = run_that_leaves_a_folder(tmp_path / "answer")
        assert left.is_relative_to(folder)
        assert list(folder.iterdir()) == []
        assert kept.parent == folder
        long = folder / ("x" * 60)
        long.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(long))
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/kept")
        left, kept = run_that_leaves_a_folder(tmp_path / "answer")
        assert left.parent == folder  # a socket's path in the command's own folder would be too long
        assert kept == Path("/kept")


@pytest.fixture
def caller(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that runs the stubborn command, once both processes have started."""
    code = (
        "import sys; from training.launch.process_group import Ending, run_command; "
        "run_command(sys.argv[1:], ending=Ending(grace_seconds=0.5))"
    )
    command = [sys.executable, "-c", code, *stubborn(tmp_path, "wait")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: len(processes(tmp_path)) == 2, "both stubborn processes")
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_caller_leaves_no_process(
    caller: "subprocess.Popen[bytes]", tmp_path: Path, number: signal.Signals
) -> None:
    caller.send_signal(number)
    assert caller.wait(TIMEOUT_SECONDS) != 0
    assert_no_process(tmp_path)


def test_killed_supervisor_leaves_no_process(caller: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    supervisor_of(tmp_path).kill()
    assert caller.wait(TIMEOUT_SECONDS) != 0
    assert_no_process(tmp_path)


def test_killed_caller_and_supervisor_leave_no_process(
    caller: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    supervisor = supervisor_of(tmp_path)
    caller.send_signal(signal.SIGSTOP)  # so that it cannot clean up
    supervisor.kill()
    caller.kill()
    assert_no_process(tmp_path)


def test_ended_command_leaves_no_process(tmp_path: Path) -> None:
    run_command(stubborn(tmp_path, "end"), ending=ENDING)
    assert not any(map(is_running, processes(tmp_path)))
    assert_no_process(tmp_path)


def test_failed_command_reports_its_error(tmp_path: Path) -> None:
    with pytest.raises(
        CommandFailedError, match=r"^ValueError: the batch holds 3 rows, need 4 \(exit code 1\)$"
    ):
        run_command(stubborn(tmp_path, "fail"), ending=ENDING)
    assert_no_process(tmp_path)


def test_exception_of_while_running_ends_the_command(tmp_path: Path) -> None:
    def fail() -> None:
        if len(processes(tmp_path)) == 2:
            raise LookupError("stop")

    with pytest.raises(LookupError, match="stop"):
        run_command(stubborn(tmp_path, "wait"), ending=ENDING, while_running=fail, interval_seconds=0.05)
    assert_no_process(tmp_path)


def test_exit_code_contains_the_signal() -> None:
    with pytest.raises(CommandFailedError, match=r"no traceback was printed \(exit code 137\)"):
        run_command([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])


def test_command_gets_environment_and_no_input(tmp_path: Path) -> None:
    code = "import os, pathlib, sys; pathlib.Path(os.environ['PLACE']).write_text(repr(sys.stdin.read()))"
    run_command([sys.executable, "-c", code], environment={"PLACE": str(tmp_path / "input.txt")})
    assert (tmp_path / "input.txt").read_text() == "''"


def test_die_with_parent_needs_a_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SUPERVISOR_VARIABLE, raising=False)
    die_with_parent()
    assert os.getppid() > 0


TRACEBACK = "Traceback (most recent call last):"


def test_first_error_is_not_the_launchers() -> None:
    lines = [
        f"[rank1]: {TRACEBACK}",
        '[rank1]:   File "loop.py", line 3, in step',
        "[rank1]: FloatingPointError: loss is nan",
        f"[rank0]: {TRACEBACK}",
        "[rank0]: ConnectionError: peer closed",
        TRACEBACK,
        '  File "run.py", line 1, in main',
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
    ]
    assert first_error(lines) == "rank1: FloatingPointError: loss is nan"


def test_first_error_of_a_chain_is_the_last() -> None:
    lines = [
        TRACEBACK,
        "KeyError: 'pose'",
        "",
        "The above exception was the direct cause of the following exception:",
        "",
        TRACEBACK,
        "ValueError: shard 3 holds no pose",
        "left over",
    ]
    assert first_error(lines) == "ValueError: shard 3 holds no pose"


def test_first_error_ignores_the_launchers_report() -> None:
    assert first_error([TRACEBACK, "torch.distributed.elastic.ChildFailedError: "]) is None
    assert first_error(["Killed"]) is None
