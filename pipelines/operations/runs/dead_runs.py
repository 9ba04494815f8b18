"""Marks runs whose process is dead as failed: ``python -m pipelines.operations.runs.dead_runs``.

Dagster notices the death of a run's process as long as the code server that started it is alive. If that
dies too (a power cut, a container's memory limit), the run stays "started" for ever and keeps its slot of the
pool and its batch: run monitoring has no health check for Dagster's default launcher. The same happens to a
killed run of the command line. So a deployment calls this after each start of its code server, and the
command line before it runs or serves anything.
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

from pipelines.deployed_settings import deployed
from pipelines.operations.instance import limit_gpu_pool
from pipelines.partitions import add_training_run
from training.jobs.config import TrainingConfig

PROCESS_TAG: Final = "pdfgc/process"  # host, process id and start time of a run of the command line
CODE_SERVER_TAG: Final = ".dagster/grpc_info"  # set by Dagster: address of the code server of a run
IN_PROGRESS: Final = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
HOST_VARIABLE: Final = "PDFGC_CODE_HOST"
PORT_VARIABLE: Final = "PDFGC_CODE_PORT"
CONNECT_TIMEOUT_SECONDS: Final = 5.0
START_TIMEOUT_SECONDS: Final = 300.0

logger = logging.getLogger(__name__)


def process_tags() -> dict[str, str]:
    """Tags of a run executed by this process."""
    process = psutil.Process()
    return {PROCESS_TAG: f"{socket.gethostname()} {process.pid} {process.create_time()}"}


@dataclass(frozen=True)
class NewServer:
    """A code server that has just started: runs of an earlier one at its address are dead."""

    host: str
    port: int
    started_at: float  # seconds since the epoch


def clear_dead_runs(instance: DagsterInstance, server: NewServer | None = None) -> list[str]:
    """Mark every dead run as failed, or as canceled if it was being canceled.

    A run of the command line is dead if its process does not exist on this machine. With SQLite, where
    everything is on this machine, a run is also dead if nothing listens on the socket of its code server. The
    daemon retries failed runs as configured (`run_retries`).

    Args:
        instance: that stores the runs.
        server: runs launched at its address before it started are dead too.

    Returns:
        Ids of the dead runs.
    """
    is_local = isinstance(instance.event_log_storage, SqliteEventLogStorage)
    dead: list[str] = []
    for run in instance.get_runs(RunsFilter(statuses=list(IN_PROGRESS))):
        address = json.loads(run.tags.get(CODE_SERVER_TAG, "{}"))
        if _process_is_dead(run.tags.get(PROCESS_TAG, "").split()):
            reason = "The process of this run was killed."
        elif (is_local and "socket" in address and not _accepts_connections(address["socket"])) or (
            server is not None and _is_from_earlier_server(server, address, instance, run)
        ):
            reason = "The code server of this run died, and the run with it (killed, or a power cut)."
        else:
            continue
        _end(instance, run, reason)
        dead.append(run.run_id)
    return dead


def _end(instance: DagsterInstance, run: DagsterRun, reason: str) -> None:
    if run.status is DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, reason)
    else:
        instance.report_run_failed(run, reason)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    logger.warning("Run %s of %s: %s", run.run_id, run.job_name, reason)


def _process_is_dead(tag: Sequence[str]) -> bool:
    """Whether the process of a tag `[host, pid, start time]` is dead; False for another machine or no tag."""
    if len(tag) != 3 or tag[0] != socket.gethostname():
        return False
    try:
        return str(psutil.Process(int(tag[1])).create_time()) != tag[2]
    except psutil.NoSuchProcess:
        return True


def _accepts_connections(path: str) -> bool:
    """Whether a process listens on a Unix socket; True if that is uncertain."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(CONNECT_TIMEOUT_SECONDS)
        try:
            connection.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:
            return True
    return True


def _is_from_earlier_server(
    server: NewServer, address: Mapping[str, Any], instance: DagsterInstance, run: DagsterRun
) -> bool:
    if (address.get("host"), address.get("port")) != (server.host, server.port):
        return False
    launched_at = instance.get_run_stats(run.run_id).launch_time
    return launched_at is not None and launched_at < server.started_at


def wait_for_server(server: NewServer) -> None:
    """Wait until the server accepts connections: a run is retried once only, so not before there is a server.

    Raises:
        TimeoutError: it does not accept connections within five minutes.
    """
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            socket.create_connection((server.host, server.port), CONNECT_TIMEOUT_SECONDS).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no code server at {server.host}:{server.port}") from error
            time.sleep(0.5)
        else:
            return


def prepare_instance(server: NewServer | None = None) -> None:
    """Clear dead runs of the instance of DAGSTER_HOME, limit its pool `gpu`, add the deployment's run."""
    with DagsterInstance.get() as instance:
        limit_gpu_pool(instance)
        add_training_run(instance, deployed(TrainingConfig).run)  # so that there is one to choose
        clear_dead_runs(instance, server)


def main() -> None:
    """Run after the start of the code server at PDFGC_CODE_HOST and PDFGC_CODE_PORT."""
    logging.basicConfig(format="%(message)s")
    started_at = psutil.Process().create_time()
    server = NewServer(os.environ[HOST_VARIABLE], int(os.environ[PORT_VARIABLE]), started_at)
    wait_for_server(server)
    prepare_instance(server)


if __name__ == "__main__":
    main()
