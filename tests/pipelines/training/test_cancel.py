"""A training run, ended in every way: nothing lives on, and the next run goes on where it stopped.

With the fake worker of `tests.factories.fake_training_worker`, below the real torchrun.
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
SOON_SECONDS = 180.0  # a bound that only a failure reaches: torchrun alone takes seconds to start
ENDLESS = 1_000_000


@dataclass(frozen=True)
class Place:
    """Where a run of the fake stage lies."""

    home: Path
    work: Path

    @contextmanager
    def start(self, goal: int, *command: str) -> "Generator[subprocess.Popen[str]]":
        """Start the run in a process of its own, which does not outlive a test that fails."""
        (self.work / "goal.txt").write_text(str(goal))
        for file in self.work.glob("*.pid"):
            file.unlink()
        with subprocess.Popen(
            [sys.executable, *(command or ("-m", "tests.factories.fake_training"))],
            env={**os.environ, "DAGSTER_HOME": str(self.home), "FAKE_WORK": str(self.work)},
            stderr=subprocess.PIPE,
            text=True,
        ) as run:
            try:
                yield run
            finally:
                run.kill()  # nothing, where it has ended

    def step(self) -> int:
        """How far it came."""
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
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "home", tmp_path / "work")
    place.home.mkdir()
    place.work.mkdir()
    (place.home / INSTANCE_FILE).write_text(INSTANCE_SETTINGS)
    yield place
    for process in place.processes():
        if psutil.pid_exists(process):
            os.kill(process, signal.SIGKILL)


def until(holds: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + SOON_SECONDS
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


DAGSTERS_OWN = ("-m", "dagster", "asset", "materialize", "--select", "fake_stage", "-m")


@pytest.mark.parametrize(
    ("number", "command"),
    [
        pytest.param(signal.SIGINT, (), id="Ctrl-C on the command line"),
        pytest.param(
            signal.SIGINT, (*DAGSTERS_OWN, "tests.factories.fake_training"), id="a cancel in the UI"
        ),
        pytest.param(
            signal.SIGTERM, (*DAGSTERS_OWN, "tests.factories.fake_training"), id="SIGTERM of a scheduler"
        ),
        pytest.param(signal.SIGKILL, (), id="SIGKILL"),
    ],
)
def test_interrupted_run_leaves_no_process_and_resumes(
    place: Place, number: signal.Signals, command: tuple[str, ...]
) -> None:
    with place.start(ENDLESS, *command) as run:
        until(lambda: place.step() >= 3, "three steps")
        family = below(run.pid)
        assert set(family) >= set(place.processes())
        run.send_signal(number)
        run.communicate(timeout=SOON_SECONDS)
        assert run.returncode != 0
    until(lambda: not any(map(is_running, family)), "the end of all processes")
    reached = place.step()
    assert 3 <= reached < ENDLESS
    with place.start(reached + 2) as again:
        _, said = again.communicate(timeout=SOON_SECONDS)
        assert again.returncode == 0, said
    assert place.step() == reached + 2
    assert f"starts at step {reached}" in said
    assert place.statuses()[-1] is DagsterRunStatus.SUCCESS
    assert place.statuses()[0] in (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


def test_failed_run_names_the_error_and_leaves_no_process(place: Place) -> None:
    with place.start(7) as run:
        _, said = run.communicate(timeout=SOON_SECONDS)
        assert run.returncode != 0
    assert not any(map(is_running, place.processes()))
    last = next(line for line in said.splitlines() if "JobFailedError: run " in line)
    assert "train_fake failed. fake_stage: " in last
    assert "ValueError: step 8 is unlucky (exit code 1)" in last


def test_running_stage_reports_losses_and_time_left(place: Place) -> None:
    with place.start(80) as run:
        _, said = run.communicate(timeout=SOON_SECONDS)
        assert run.returncode == 0, said
    assert "fake 80/80  fake 0.025  80.0 img/s  0:00 left" in said
    with DagsterInstance.from_config(str(place.home)) as instance:
        records = instance.fetch_observations(AssetKey("fake_stage"), limit=10).records
    assert records
    observation = records[0].asset_observation
    assert observation is not None
    assert str(observation.metadata["picture: losses"].value).startswith("![picture](data:image/png;base64,")
