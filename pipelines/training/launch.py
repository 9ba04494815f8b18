"""Starts torchrun for a stage's asset, shows what it does while it runs, and leaves nothing of it behind."""

import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dagster import (
    AssetExecutionContext,
    AssetObservation,
    PipesEnvContextInjector,
    PipesFileMessageReader,
    PreviewWarning,
    open_pipes_session,
)

from pipelines.metadata import picture
from pipelines.training.pictures import draw_losses
from pipelines.training.record import newest_sample, read_losses
from training.launch.process_group import Ending, run_command

WORKER: Final = "pipelines.training.worker"
MESSAGES_NAME: Final = ".messages"  # names that start with a dot are not published


@dataclass(frozen=True)
class Watching:
    """How often a running stage shows itself. Every line and every look is an event in Dagster's store."""

    line_seconds: float = 15.0
    look_seconds: float = 60.0  # loss curves and sample grid: some 50 KB each


class Watch:
    """Turns a worker's messages into log lines and observations of the asset."""

    def __init__(
        self,
        context: AssetExecutionContext,
        work: Path,
        watching: Watching,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context, self._work, self._watching, self._clock = context, work, watching, clock
        self._seen = 0
        self._line = ""
        self._line_at = -watching.line_seconds + clock()
        self._look_at = clock()

    def look(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Take up what the worker has told since the last call."""
        new, self._seen = messages[self._seen :], len(messages)
        lines = [str(message["progress"]) for message in new if "progress" in message]
        self._line = lines[-1] if lines else self._line
        now = self._clock()
        if self._line and now - self._line_at >= self._watching.line_seconds:
            self._context.log.info("%s", self._line)
            self._line, self._line_at = "", now
        if now - self._look_at >= self._watching.look_seconds:
            self._observe()
            self._look_at = self._clock()  # drawing takes its time on a busy machine

    def end(self) -> None:
        """Say the last line, if it was not said."""
        if self._line:
            self._context.log.info("%s", self._line)

    def _observe(self) -> None:
        records = read_losses(self._work)
        if not records:
            return
        metadata: dict[str, Any] = {
            "step": records[-1].step,
            "images per second": records[-1].images_per_second,
            "picture: losses": picture(draw_losses(records)),
        }
        sample = newest_sample(self._work)
        if sample is not None:
            metadata["picture: samples"] = picture(sample.read_bytes())
        self._context.log_event(
            AssetObservation(
                self._context.asset_key,
                description="while it trains",
                partition=self._context.partition_key if self._context.has_partition_key else None,
                metadata=metadata,
            )
        )


def launch_training(
    context: AssetExecutionContext,
    job: Path,
    processes: int,
    *,
    worker: str = WORKER,
    ending: Ending | None = None,
    watching: Watching | None = None,
) -> None:
    """Train a job in processes of its own, until it ends; when this returns or raises, all of them have.

    Args:
        context: of the asset that is made.
        job: file of the `TrainingJob`; what the worker writes lies beside it.
        processes: how many torchrun starts.
        worker: module that torchrun starts.
        ending: how they are ended on a cancel.
        watching: how often they are shown.

    Raises:
        CommandFailedError: training failed; the first line says why.
    """
    # In the work folder, not in a temporary one: a killed run leaves nothing that is not cleared.
    reader = PipesFileMessageReader(str(job.parent / MESSAGES_NAME))
    watch = Watch(context, job.parent, watching or Watching())
    with ExitStack() as stack:
        with warnings.catch_warnings():  # Dagster warns of a preview feature of its own that it uses inside
            warnings.simplefilter("ignore", PreviewWarning)
            session = stack.enter_context(open_pipes_session(context, PipesEnvContextInjector(), reader))
        messages = session.message_handler.get_custom_messages
        run_command(
            torchrun_command(job, processes, worker),
            environment={**threads(processes), **session.get_bootstrap_env_vars()},
            ending=ending,
            while_running=lambda: watch.look(messages()),
        )
    watch.look(messages())
    watch.end()


def torchrun_command(job: Path, processes: int, worker: str = WORKER) -> list[str]:
    """Torchrun on this machine alone, with a port of its own choice."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1"),
        *(f"--nproc-per-node={processes}", "-m", worker, str(job)),
    ]


def threads(processes: int) -> dict[str, str]:
    """Threads of each process: its share of the cores, less one for its loader.

    A thread too many waits in a loop for its core: measured on two cores, two threads gain 5 % alone and
    lose two thirds of the speed beside another program.
    """
    return {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // processes - 1))}
