"""Interrupted training runs leave no process behind, and the next run resumes.

The worker is that of `tests.factories.training.fake_training_worker`, started as a stage's is.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus

from pipelines.operations.instance import INSTANCE_FILE, INSTANCE_SETTINGS

pytestmark = pytest.mark.slow
TIMEOUT_SECONDS = 180.0  # generous: Dagster takes seconds to start
ENDLESS = 1_000_000


@dataclass(frozen=True)
class FakeRun:
    """Folders of a run of the fake stage."""

    home: Path
    work: Path

    @contextmanager
    def start(self, goal: int, *command: str) -> "Generator[subprocess.Popen[str]]":
        """Start the run in a process of its own, which ends with the block."""
        (self.work / "goal.txt").write_text(str(goal))
        for file in self.work.glob("*.pid"):
            file.unlink()
        with subprocess.Popen(
            [sys.executable, *(command or ("-m", "tests.factories.training.fake_training"))],
            env={**os.environ, "DAGSTER_HOME": str(self.home), "FAKE_WORK": str(self.work)},
            stderr=subprocess.PIPE,
            text=True,
        ) as run:
            try:
                yield run
            finally:
                run.kill()  # does nothing if it has ended

    def step(self) -> int:
        """The last step of the checkpoint."""
        file = self.work / "checkpoint.txt"
        return int(file.read_text()) if file.exists() else 0

    def processes(self) -> list[int]:
        """The worker and its child, both of which ignore SIGINT and SIGTERM."""
        return [int(path.stem) for path in self.work.glob("*.pid")]

    def statuses(self) -> list[DagsterRunStatus]:
        """Of all runs, the oldest first."""
        with DagsterInstance.from_config(str(self.home)) as instance:
            return [run.status for run in reversed(instance.get_runs())]


@pytest.fixture
def fake_run(tmp_path: Path) -> Iterator[FakeRun]:
    fake_run = FakeRun(tmp_path / "home", tmp_path / "work")
    fake_run.home.mkdir()
    fake_run.work.mkdir()
    (fake_run.home / INSTANCE_FILE).write_text(INSTANCE_SETTINGS)
    yield fake_run
    for process in fake_run.processes():
        if psutil.pid_exists(process):
            os.kill(process, signal.SIGKILL)


def until(holds: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < give_up_at, f"never came: {what}"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def below(process: int) -> list[int]:
    return [child.pid for child in psutil.Process(process).children(recursive=True)]


DAGSTER_COMMAND = ("-m", "dagster", "asset", "materialize", "--select", "fake_stage", "-m")


@pytest.mark.parametrize(
    ("number", "command"),
    [
        pytest.param(signal.SIGINT, (), id="Ctrl-C on the command line"),
        pytest.param(
            signal.SIGINT,
            (*DAGSTER_COMMAND, "tests.factories.training.fake_training"),
            id="a cancel in the UI",
        ),
        pytest.param(
            signal.SIGTERM,
            (*DAGSTER_COMMAND, "tests.factories.training.fake_training"),
            id="SIGTERM of a scheduler",
        ),
        pytest.param(signal.SIGKILL, (), id="SIGKILL"),
    ],
)
def test_interrupted_run_leaves_no_process_and_resumes(
    fake_run: FakeRun, number: signal.Signals, command: tuple[str, ...]
) -> None:
    with fake_run.start(ENDLESS, *command) as run:
        until(lambda: fake_run.step() >= 3, "three steps")
        family = below(run.pid)
        assert set(family) >= set(fake_run.processes())
        run.send_signal(number)
        run.communicate(timeout=TIMEOUT_SECONDS)
        assert run.returncode != 0
    until(lambda: not any(map(is_running, family)), "the end of all processes")
    reached = fake_run.step()
    assert 3 <= reached < ENDLESS
    with fake_run.start(reached + 2) as resumed:
        _, stderr = resumed.communicate(timeout=TIMEOUT_SECONDS)
        assert resumed.returncode == 0, stderr
    assert fake_run.step() == reached + 2
    assert f"starts at step {reached}" in stderr
    assert fake_run.statuses()[-1] is DagsterRunStatus.SUCCESS
    assert fake_run.statuses()[0] in (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


def test_failed_run_names_the_error_and_leaves_no_process(fake_run: FakeRun) -> None:
    with fake_run.start(7) as run:
        _, stderr = run.communicate(timeout=TIMEOUT_SECONDS)
        assert run.returncode != 0
    assert not any(map(is_running, fake_run.processes()))
    last = next(line for line in stderr.splitlines() if "JobFailedError: run " in line)
    assert "train_fake failed. fake_stage: " in last
    assert "ValueError: step 8 is unlucky (exit code 1)" in last


def test_running_stage_reports_losses_and_time_left(fake_run: FakeRun) -> None:
    with fake_run.start(80) as run:
        _, stderr = run.communicate(timeout=TIMEOUT_SECONDS)
        assert run.returncode == 0, stderr
    assert "fake 80/80  fake 0.025  80.0 img/s  0:00 left" in stderr
    with DagsterInstance.from_config(str(fake_run.home)) as instance:
        records = instance.fetch_observations(AssetKey("fake_stage"), limit=10).records
    assert records
    observation = records[0].asset_observation
    assert observation is not None
    assert str(observation.metadata["picture: losses"].value).startswith(
        "[![picture](/files/pictures/training/run/fake_stage/losses-"
    )
