"""Runs that nobody carries out any more are marked as failed: ``python -m pipelines.dead_runs``.

Dagster notices when the process of a run dies, as long as the code server that started it lives. When
that goes too (a power cut, a container's memory limit) the run stays "started", keeps its place in the
pool and its batch, and run monitoring, for want of a check by Dagster's own launcher, lets it. A run on
the command line that is killed stays likewise. So a deployment calls this before its code server starts,
and the command line before it runs or serves anything.
"""

import json
import logging
import os
import socket
from collections.abc import Mapping, Sequence
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

logger = logging.getLogger(__name__)


def process_tags() -> dict[str, str]:
    """Tags of a run that this very process carries out."""
    process = psutil.Process()
    return {PROCESS_TAG: f"{socket.gethostname()} {process.pid} {process.create_time()}"}


def clear_dead_runs(instance: DagsterInstance, server: Mapping[str, Any] | None = None) -> list[str]:
    """Mark as failed, or cancelled where that was asked for, every run that is known to be dead.

    Dead is a run of the command line whose process is gone from this machine. Where SQLite tells that all
    is on this machine, also a run whose code server's socket nobody listens on. The daemon starts failed
    runs again as `run_retries` tells.

    Args:
        instance: whose runs are looked at.
        server: host and port of this machine's own code server: the runs that it started are dead while
            nobody listens there. Others' servers, which may be called "localhost" too, are left out.

    Returns:
        Ids of these runs.
    """
    all_is_here = isinstance(instance.event_log_storage, SqliteEventLogStorage)
    dead: list[str] = []
    for run in instance.get_runs(RunsFilter(statuses=list(IN_PROGRESS))):
        told = json.loads(run.tags.get(CODE_SERVER_TAG, "{}"))
        ours = (all_is_here and "socket" in told) or (server is not None and told == server)
        if _process_is_gone(run.tags.get(PROCESS_TAG, "").split()):
            why = "The process of this run is gone: it was killed."
        elif ours and not _somebody_listens(told):
            why = (
                "The code server of this run is gone, and the run with it: killed, or a power cut."
            )
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


def _somebody_listens(server: Mapping[str, Any]) -> bool:
    """False only where it is certain that nobody does."""
    try:
        if "socket" in server:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE_SECONDS)
                connection.connect(server["socket"])
        else:
            socket.create_connection((server["host"], server["port"]), PATIENCE_SECONDS).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:  # no name, no way, no answer in time
        return True
    return True


def main() -> None:
    """Look at the instance of DAGSTER_HOME, before the code server of PDFGC_CODE_HOST and _PORT starts."""
    logging.basicConfig(format="%(message)s")
    host, port = os.environ.get(HOST_VARIABLE), os.environ.get(PORT_VARIABLE)
    with DagsterInstance.get() as instance:
        clear_dead_runs(instance, {"host": host, "port": int(port)} if host and port else None)


if __name__ == "__main__":
    main()
