"""Runs that nobody carries out any more are marked as failed: ``python -m pipelines.operations.dead_runs``.

Dagster notices when the process of a run dies, as long as the code server that started it lives. When
that goes too (a power cut, a container's memory limit) the run stays "started", keeps its place in the
pool and its batch, and run monitoring, for want of a check by Dagster's own launcher, lets it. A run on
the command line that is killed stays likewise. So a deployment calls this whenever its code server was
started, and the command line before it runs or serves anything.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.event_log import SqliteEventLogStorage

PROCESS_TAG: Final = "pdfgc/process"  # which process of which machine a run of the command line is
CODE_SERVER_TAG: Final = ".dagster/grpc_info"  # Dagster's own: where the code server of a run listens
IN_PROGRESS: Final = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
HOST_VARIABLE: Final = "PDFGC_CODE_HOST"
PORT_VARIABLE: Final = "PDFGC_CODE_PORT"
PATIENCE_SECONDS: Final = 5.0
STARTS_WITHIN_SECONDS: Final = 300.0

logger = logging.getLogger(__name__)


def process_tags() -> dict[str, str]:
    """Tags of a run that this very process carries out."""
    process = psutil.Process()
    return {PROCESS_TAG: f"{socket.gethostname()} {process.pid} {process.create_time()}"}


@dataclass(frozen=True)
class NewServer:
    """A code server that was started anew: what an earlier one at its address had started is dead."""

    host: str
    port: int
    started_at: float  # seconds since the epoch


def clear_dead_runs(instance: DagsterInstance, server: NewServer | None = None) -> list[str]:
    """Mark as failed, or cancelled where that was asked for, every run that is known to be dead.

    Dead is a run of the command line whose process is gone from this machine. Where SQLite tells that all
    is on this machine, also a run whose code server's socket nobody listens on. The daemon starts failed
    runs again as `run_retries` tells.

    Args:
        instance: whose runs are looked at.
        server: the runs that were launched at its address before it was started are dead, too.

    Returns:
        Ids of these runs.
    """
    all_is_here = isinstance(instance.event_log_storage, SqliteEventLogStorage)
    dead: list[str] = []
    for run in instance.get_runs(RunsFilter(statuses=list(IN_PROGRESS))):
        told = json.loads(run.tags.get(CODE_SERVER_TAG, "{}"))
        if _process_is_gone(run.tags.get(PROCESS_TAG, "").split()):
            why = "The process of this run is gone: it was killed."
        elif (all_is_here and "socket" in told and not _somebody_listens(told["socket"])) or (
            server is not None and _is_of_an_earlier(server, told, instance, run)
        ):
            why = "The code server of this run is gone, and the run with it: killed, or a power cut."
        else:
            continue
        _end(instance, run, why)
        dead.append(run.run_id)
    return dead


def _end(instance: DagsterInstance, run: DagsterRun, why: str) -> None:
    if run.status is DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, why)
    else:
        instance.report_run_failed(run, why)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    logger.warning("run %s of %s: %s", run.run_id, run.job_name, why)


def _process_is_gone(told: Sequence[str]) -> bool:
    """False also where nothing is told, or of another machine."""
    if len(told) != 3 or told[0] != socket.gethostname():
        return False
    try:
        return str(psutil.Process(int(told[1])).create_time()) != told[2]
    except psutil.NoSuchProcess:
        return True


def _somebody_listens(path: str) -> bool:
    """False only where it is certain that nobody does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        try:
            connection.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:
            return True
    return True


def _is_of_an_earlier(
    server: NewServer, told: Mapping[str, Any], instance: DagsterInstance, run: DagsterRun
) -> bool:
    if (told.get("host"), told.get("port")) != (server.host, server.port):
        return False
    launched_at = instance.get_run_stats(run.run_id).launch_time
    return launched_at is not None and launched_at < server.started_at


def wait_until_it_listens(server: NewServer) -> None:
    """Until the server answers: a run that is started again before would find none, and not be tried twice.

    Raises:
        TimeoutError: it does not within five minutes.
    """
    give_up_at = time.monotonic() + STARTS_WITHIN_SECONDS
    while True:
        try:
            socket.create_connection((server.host, server.port), PATIENCE_SECONDS).close()
        except OSError as error:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"no code server at {server.host}:{server.port}") from error
            time.sleep(0.5)
        else:
            return


def clear_this_home(server: NewServer | None = None) -> None:
    """Clear the instance of DAGSTER_HOME."""
    with DagsterInstance.get() as instance:
        clear_dead_runs(instance, server)


def main() -> None:
    """Called when the code server of PDFGC_CODE_HOST and PDFGC_CODE_PORT is started."""
    logging.basicConfig(format="%(message)s")
    started_at = psutil.Process().create_time()
    server = NewServer(os.environ[HOST_VARIABLE], int(os.environ[PORT_VARIABLE]), started_at)
    wait_until_it_listens(server)
    clear_this_home(server)


if __name__ == "__main__":
    main()
