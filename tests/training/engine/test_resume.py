"""A run that is killed and resumed ends with the same bits as an uninterrupted run."""

import json
import multiprocessing
import random
import socket
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
import torch
from torch import Tensor
from upath import UPath

from tests.factories.training import resume_child
from tests.factories.training.toy_run import CONFIG, STEPS, WARP_CONFIG, same
from training.engine.checkpoint import EMA_NAME, WEIGHTS_NAME, newest_checkpoint, read_checkpoint
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER
from training.engine.progress import METRICS_NAME, read_metrics
from training.jobs.job import TrainingJob
from training.launch.signals import STOPPED_EXIT

pytestmark = pytest.mark.slow
TIMEOUT_SECONDS = 300.0
Preset = Literal["tiny_cpu", "small_gpu"]


def make_job(folder: Path, root: UPath, stage: str, ranks: int, preset: Preset = "tiny_cpu") -> Path:
    job = folder / "job.json"
    (folder / "work").mkdir(parents=True)
    base = WARP_CONFIG if preset == "small_gpu" else CONFIG
    config = base.replace(processes=ranks, preset=preset)
    TrainingJob(root=str(root), stage=stage, config=config, work=folder / "work").write(job)
    return job


def start(
    job: Path, ranks: int, pause_at_step: int = 0, pause_in_checkpoint: int = 0, terminate_at_step: int = 0
) -> list[BaseProcess]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([resume_child.__name__])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started: list[BaseProcess] = []
    for rank in range(ranks):
        variables = {"RANK": str(rank), "LOCAL_RANK": str(rank)} | world if ranks > 1 else {}
        arguments = (job, variables, pause_at_step, pause_in_checkpoint, terminate_at_step)
        process = context.Process(target=resume_child.run, args=arguments)
        process.start()
        started.append(process)
    return started


def train(job: Path, ranks: int) -> None:
    for process in start(job, ranks):
        process.join(TIMEOUT_SECONDS)
        assert process.exitcode == 0


class UninterruptedRuns:
    """Runs to compare with, each trained once."""

    def __init__(self, folder: Path, root: UPath) -> None:
        self._folder, self._root = folder, root

    def trained(self, stage: str, ranks: int, preset: Preset = "tiny_cpu") -> Path:
        """The folder of a finished run."""
        folder = self._folder / f"{stage}-{ranks}-{preset}"
        if not folder.exists():
            train(make_job(folder, self._root, stage, ranks, preset), ranks)
        return folder


@pytest.fixture(scope="module")
def uninterrupted_runs(tmp_path_factory: pytest.TempPathFactory, toy_root: UPath) -> UninterruptedRuns:
    return UninterruptedRuns(tmp_path_factory.mktemp("uninterrupted"), toy_root)


def kill_when(condition: Callable[[], bool], started: list[BaseProcess]) -> None:
    """SIGKILL all processes and their descendants once a condition is true."""
    give_up_at = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert all(process.is_alive() for process in started), "a process ended too early"
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    numbers = [process.pid or 0 for process in started]
    below = [child for number in numbers for child in psutil.Process(number).children(recursive=True)]
    assert below, "no loader workers"
    for process in [*map(psutil.Process, numbers), *below]:
        process.kill()
    for process in started:
        process.join(TIMEOUT_SECONDS)
        assert process.exitcode == -9


def assert_equal_results(expected: Path, actual: Path) -> None:
    for name in (WEIGHTS_NAME, EMA_NAME):
        assert (expected / "work" / name).read_bytes() == (actual / "work" / name).read_bytes()
    first, second = (newest_checkpoint(folder / "work" / CHECKPOINTS_FOLDER) for folder in (expected, actual))
    assert first is not None
    assert second is not None
    a, b = read_checkpoint(first), read_checkpoint(second)
    assert (a.facts.step, b.facts.step) == (STEPS, STEPS)
    same(a.optimizers, b.optimizers)
    same([vars(rank) for rank in a.ranks], [vars(rank) for rank in b.ranks])
    assert any(not torch.equal(a.weights.tensors[name], value) for name, value in ema_of(a).items())


def ema_of(checkpoint: Any) -> Mapping[str, Tensor]:
    return checkpoint.ema.tensors


def last_step(folder: Path) -> int:
    return max((line["step"] for line in read_metrics(folder / "work" / METRICS_NAME)), default=0)


@pytest.mark.parametrize(
    ("stage", "ranks", "preset"),
    [
        ("stage3_expression", 1, "tiny_cpu"),
        ("stage1_motion", 2, "tiny_cpu"),
        ("stage3_expression", 2, "tiny_cpu"),
        ("stage3_expression", 1, "small_gpu"),  # with cached features and the path `warp`
    ],
)
def test_run_killed_at_any_step_resumes_bit_for_bit(
    tmp_path: Path,
    toy_root: UPath,
    uninterrupted_runs: UninterruptedRuns,
    stage: str,
    ranks: int,
    preset: Preset,
) -> None:
    uninterrupted, killed = uninterrupted_runs.trained(stage, ranks, preset), tmp_path / "killed"
    job = make_job(killed, toy_root, stage, ranks, preset)
    at = random.choice([4, 5, 7])
    print(f"killed at step {at}")  # noqa: T201
    kill_when(lambda: last_step(killed) == at, start(job, ranks, pause_at_step=at))
    train(job, ranks)
    assert (
        f"Starting {stage} at step {at // 3 * 3} of {STEPS}, from checkpoint "
        in job.with_name(resume_child.LOG_NAME).read_text()
    )
    assert_equal_results(uninterrupted, killed)
    steps = [
        [line["step"] for line in read_metrics(folder / "work" / METRICS_NAME) if "losses" in line]
        for folder in (uninterrupted, killed)
    ]
    assert steps == [list(range(1, STEPS + 1))] * 2


def test_run_killed_in_a_checkpoint_resumes_from_the_previous(
    tmp_path: Path, toy_root: UPath, uninterrupted_runs: UninterruptedRuns
) -> None:
    uninterrupted, killed = uninterrupted_runs.trained("stage3_expression", 1), tmp_path / "killed"
    job, checkpoints = make_job(killed, toy_root, "stage3_expression", 1), killed / "work" / ".checkpoints"
    kill_when(
        lambda: any(checkpoints.glob("step-00000006.partial-*/state.pt")),
        start(job, 1, pause_in_checkpoint=6),
    )
    train(job, 1)
    assert "Starting stage3_expression at step 3 of " in job.with_name(resume_child.LOG_NAME).read_text()
    assert_equal_results(uninterrupted, killed)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["step-00000006", "step-00000008"]
    assert json.loads((checkpoints / "step-00000008" / "manifest.json").read_text())["step"] == STEPS


def test_run_that_is_terminated_writes_a_checkpoint(tmp_path: Path, toy_root: UPath) -> None:
    """SIGTERM to rank 0: both ranks stop at the same step."""
    uninterrupted, stopped = tmp_path / "uninterrupted", tmp_path / "stopped"
    train(make_job(uninterrupted, toy_root, "perception", 2), 2)
    job = make_job(stopped, toy_root, "perception", 2)
    for process in start(job, 2, terminate_at_step=4):
        process.join(TIMEOUT_SECONDS)
        assert process.exitcode == STOPPED_EXIT
    log = job.with_name(resume_child.LOG_NAME).read_text()
    assert f"perception stopped at step 5 of {STEPS}; launch the same again to go on" in log
    newest = newest_checkpoint(stopped / "work" / CHECKPOINTS_FOLDER)
    assert newest is not None
    assert newest.name == "step-00000005"
    train(job, 2)
    assert_equal_results(uninterrupted, stopped)
