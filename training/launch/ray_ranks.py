"""Starts the processes of a job on a Ray cluster: ``python -m training.launch.ray_ranks … MODULE JOB``.

Ray Train places one worker a rank, with its cores and GPU, and starts all again, on other nodes if it must,
when a worker or a node is lost. Each worker runs the rank as a process of its own, which meets the others as
on one machine: through a file that only this user can read, here on a file system that all nodes share, and
over one named interface. A rank resumes from the last checkpoint in the job's work folder.

SIGTERM asks every rank to stop: it writes a checkpoint, and this process exits with `STOPPED_EXIT`.
"""

import argparse
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Any, Final

from training.launch.launchers import RENDEZVOUS_PREFIX
from training.launch.local_ranks import rank_environment
from training.launch.process_group import LINES_KEPT, failure
from training.launch.signals import STOPPED_EXIT, SUPERVISOR_VARIABLE

POLL_SECONDS: Final = 0.25
STOP_PREFIX: Final = ".stop-"
FORWARDED: Final = ("DAGSTER_PIPES_", "OMP_NUM_THREADS")  # the rest, with all keys, is each node's own


class RankFailedError(RuntimeError):
    """A rank failed more often than it may be restarted."""


@dataclass(frozen=True)
class RankCommand:
    """What each worker runs."""

    module: str
    job: str
    interface: str
    stop_file: str  # its existence asks the ranks to stop
    environment: dict[str, str]


def run_rank(config: dict[str, Any]) -> None:
    """Run this Ray worker's rank to its end.

    Raises:
        RankFailedError: it failed; Ray Train starts all ranks again.
    """
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    context, command = get_context(), RankCommand(**config)
    job = Path(command.job)
    if not job.is_file():
        raise RankFailedError(
            f"{job} is not visible on this node; PDFGC_SCRATCH must be on a file system that all nodes share"
        )
    # A new file every time: one left by ranks that were lost would stall the rendezvous.
    rendezvous = broadcast_from_rank_zero(f"{RENDEZVOUS_PREFIX}{secrets.token_hex(8)}")
    variables = rank_environment(
        context.get_world_rank(),
        context.get_world_size(),
        job.parent / rendezvous,
        local_rank=context.get_local_rank(),
        interface=command.interface,
    )
    environment = os.environ | command.environment | variables | {SUPERVISOR_VARIABLE: str(os.getpid())}
    code, lines = _run_until_ended(command, environment)
    if code not in (0, STOPPED_EXIT):
        raise RankFailedError(f"rank {context.get_world_rank()}: {failure(code, lines)}")


def _run_until_ended(command: RankCommand, environment: dict[str, str]) -> tuple[int, list[str]]:
    """The exit code of a rank's process, and the last lines of its standard error."""
    lines: deque[str] = deque(maxlen=LINES_KEPT)
    with subprocess.Popen(
        [sys.executable, "-m", command.module, command.job], env=environment, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        reading = Thread(target=_forward, args=(process.stderr, lines), daemon=True)
        reading.start()
        is_asked = False
        while process.poll() is None:
            if not is_asked and Path(command.stop_file).exists():
                process.terminate()
                is_asked = True
            time.sleep(POLL_SECONDS)
        reading.join()
        return process.returncode, list(lines)


def _forward(source: IO[bytes], lines: deque[str]) -> None:
    for line in source:
        lines.append(line.decode(errors="replace").rstrip("\n"))
        sys.stderr.write(f"{lines[-1]}\n")


def main() -> int:
    """Read the command line and run all ranks."""
    parser = argparse.ArgumentParser(prog="python -m training.launch.ray_ranks", description=__doc__)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--cpus-per-worker", type=int, default=1)
    parser.add_argument("--gpus-per-worker", type=int, default=0)
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("--interface", required=True)
    parser.add_argument("module")
    parser.add_argument("job", type=Path)
    given = parser.parse_args()
    job = given.job.absolute()
    stop_file = job.parent / f"{STOP_PREFIX}{secrets.token_hex(8)}"
    environment = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
    command = RankCommand(given.module, str(job), given.interface, str(stop_file), environment)
    _connect()

    def ask_to_stop(number: int, frame: object) -> None:
        del number, frame
        stop_file.touch()

    signal.signal(signal.SIGTERM, ask_to_stop)
    try:
        _fit(command, given)
        return STOPPED_EXIT if stop_file.exists() else 0
    finally:
        stop_file.unlink(missing_ok=True)


def _connect() -> None:
    import ray

    try:
        ray.init(address="auto", logging_level=logging.WARNING)
    except ConnectionError as error:
        raise RankFailedError(
            "launch.launcher is ray, and no Ray cluster is running here: start pdfgc-ray-head and "
            "pdfgc-ray-node (docs/deployment.md), or set PDFGC__LAUNCH__LAUNCHER=local"
        ) from error


def _fit(command: RankCommand, given: argparse.Namespace) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, WorkerGroupError
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from training.launch.ray_ranks import run_rank as by_reference  # nodes import it; this module is __main__

    resources = {"CPU": given.cpus_per_worker, "GPU": given.gpus_per_worker}
    trainer = DataParallelTrainer(
        by_reference,
        train_loop_config=asdict(command),
        scaling_config=ScalingConfig(
            num_workers=given.workers,
            use_gpu=bool(given.gpus_per_worker),
            resources_per_worker={name: count for name, count in resources.items() if count},
            placement_strategy="SPREAD" if given.nodes == given.workers else "PACK",
        ),
        run_config=RunConfig(
            name=Path(command.stop_file).name.removeprefix(STOP_PREFIX),
            storage_path=str(Path(command.job).parent / ".ray"),
            failure_config=FailureConfig(max_failures=given.restarts),
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        rank = min(error.worker_failures)
        raise RankFailedError(str(error.worker_failures[rank])) from error
    except TrainingFailedError as error:
        raise RankFailedError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
