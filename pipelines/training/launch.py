"""Runs a stage's training processes for its asset, reports its progress, and leaves no process behind."""

import os
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
    DagsterExecutionInterruptedError,
    MetadataValue,
    PipesEnvContextInjector,
    PipesFileMessageReader,
    PreviewWarning,
    open_pipes_session,
)
from upath import UPath

from evaluation.film.film import FILM_FOLDER, PICTURE_NAME
from pipelines.training.pictures import draw_losses
from pipelines.web.locations import store_picture
from training.engine.progress import newest_sample, read_losses
from training.launch.launchers import LaunchSettings, launch_command
from training.launch.process_group import CommandFailedError, Ending, run_command

WORKER: Final = "pipelines.training.worker"
MESSAGES_NAME: Final = ".messages"  # names that start with a dot are not published


@dataclass(frozen=True)
class ReportIntervals:
    """How often a running stage reports. Every report is an event in Dagster's database."""

    line_seconds: float = 15.0
    picture_seconds: float = 60.0  # loss curves and sample grid, about 50 KB each


class ProgressMonitor:
    """Logs the progress of a worker and records observations of its asset."""

    def __init__(
        self,
        context: AssetExecutionContext,
        root: UPath,
        work: Path,
        intervals: ReportIntervals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context, self._root, self._work = context, root, work
        self._intervals, self._clock = intervals, clock
        self._seen = 0
        self._line = ""
        self._line_at = -intervals.line_seconds + clock()
        self._picture_at = clock()

    def update(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Process the messages that the worker has sent since the last call."""
        new, self._seen = messages[self._seen :], len(messages)
        lines = [str(message["progress"]) for message in new if "progress" in message]
        self._line = lines[-1] if lines else self._line
        now = self._clock()
        if self._line and now - self._line_at >= self._intervals.line_seconds:
            self._context.log.info("%s", self._line)
            self._line, self._line_at = "", now
        if now - self._picture_at >= self._intervals.picture_seconds:
            self._observe()
            self._picture_at = self._clock()  # after drawing, which is slow on a busy machine

    def finish(self) -> None:
        """Log the last progress line, unless it was logged."""
        if self._line:
            self._context.log.info("%s", self._line)

    def _picture(self, name: str, data: bytes) -> MetadataValue:
        """A picture; those of later reports have names of their own, and gc keeps the newest."""
        run = self._context.partition_key if self._context.has_partition_key else "run"
        stage = self._context.asset_key.path[-1]
        return store_picture(self._root, f"training/{run}/{stage}/{name}", data)

    def _observe(self) -> None:
        records = read_losses(self._work)
        if not records:
            return
        metadata: dict[str, Any] = {
            "step": records[-1].step,
            "images per second": records[-1].images_per_second,
            "picture: losses": self._picture("losses", draw_losses(records)),
        }
        sample = newest_sample(self._work)
        if sample is not None:
            metadata["picture: samples"] = self._picture("samples", sample.read_bytes())
        film = self._work / FILM_FOLDER / PICTURE_NAME
        if film.is_file():
            metadata["picture: film"] = self._picture("film", film.read_bytes())
        self._context.log_event(
            AssetObservation(
                self._context.asset_key,
                description="training in progress",
                partition=self._context.partition_key if self._context.has_partition_key else None,
                metadata=metadata,
            )
        )


def launch_training(
    context: AssetExecutionContext,
    root: UPath,
    job: Path,
    processes: int,
    *,
    worker: str = WORKER,
    ending: Ending | None = None,
    intervals: ReportIntervals | None = None,
    launcher: LaunchSettings | None = None,
) -> None:
    """Train a job in a process group of its own; all its processes have ended when this returns or raises.

    Args:
        context: of the asset.
        root: for the pictures of its progress.
        job: file of the `TrainingJob`; the worker writes its files next to it.
        processes: number of worker processes on each node.
        worker: module that every process runs.
        ending: how the processes are terminated on a cancel.
        intervals: how often progress is reported.
        launcher: where they run; default on this machine.

    Raises:
        CommandFailedError: training failed; the first line is the reason.
        DagsterExecutionInterruptedError: it was canceled; the message says at which step it stopped.
    """
    # In the work folder, which is cleared also after a killed run.
    reader = PipesFileMessageReader(str(job.parent / MESSAGES_NAME))
    monitor = ProgressMonitor(context, root, job.parent, intervals or ReportIntervals())
    with ExitStack() as stack:
        with warnings.catch_warnings():  # Dagster warns about a preview feature that it uses itself
            warnings.simplefilter("ignore", PreviewWarning)
            session = stack.enter_context(open_pipes_session(context, PipesEnvContextInjector(), reader))
        messages = session.message_handler.get_custom_messages
        try:
            run_command(
                launch_command(launcher or LaunchSettings(), processes, worker, job),
                environment={**thread_environment(processes), **session.get_bootstrap_env_vars()},
                ending=ending,
                while_running=lambda: monitor.update(messages()),
            )
        except (KeyboardInterrupt, DagsterExecutionInterruptedError, CommandFailedError) as error:
            stack.close()  # all messages have come
            if (stopped := stopped_message(messages())) is None:
                raise
            raise type(error)(stopped) from None
    monitor.update(messages())
    monitor.finish()


def stopped_message(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """What the worker said about its stop, such as ``stage2_pose stopped at step 30 of 300; launch …``."""
    return next((str(message["stopped"]) for message in messages if "stopped" in message), None)


def thread_environment(processes: int) -> dict[str, str]:
    """Environment with the threads of each process: its share of the cores, less one for its loader.

    A thread too many busy-waits for its core: on two cores, two threads are 5 % faster alone and two thirds
    slower beside another program.
    """
    return {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // processes - 1))}
