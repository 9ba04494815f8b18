"""Runs whose process or code server is gone are ended; those that may live are left alone."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRunStatus, job, op

from pipelines.operations.runs.dead_runs import (
    CODE_SERVER_TAG,
    PROCESS_TAG,
    NewServer,
    clear_dead_runs,
    process_tags,
)


@op
def nothing() -> None:
    """Does nothing."""


@job
def idle() -> None:
    """A job without work."""
    nothing()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as instance:
        yield instance


def run_of(
    instance: DagsterInstance, tags: dict[str, str], status: DagsterRunStatus = DagsterRunStatus.STARTED
) -> str:
    return instance.create_run_for_job(idle, tags=tags, status=status).run_id


def status_of(instance: DagsterInstance, run: str) -> DagsterRunStatus:
    record = instance.get_run_by_id(run)
    assert record is not None
    return record.status


def served_at(**address: object) -> dict[str, str]:
    return {CODE_SERVER_TAG: json.dumps({"host": "localhost", **address})}


def test_run_of_a_killed_process_is_marked_as_failed(
    instance: DagsterInstance,
) -> None:
    me, machine = psutil.Process(), socket.gethostname()
    alive = run_of(instance, process_tags())
    reused_process_id = run_of(instance, {PROCESS_TAG: f"{machine} {me.pid} {me.create_time() - 5}"})
    another_machine = run_of(instance, {PROCESS_TAG: f"elsewhere {me.pid} 1.0"})
    untagged = run_of(instance, {})
    assert clear_dead_runs(instance) == [reused_process_id]
    assert status_of(instance, reused_process_id) is DagsterRunStatus.FAILURE
    assert {status_of(instance, run) for run in (alive, another_machine, untagged)} == {
        DagsterRunStatus.STARTED
    }


def test_run_is_dead_without_its_code_servers_socket(instance: DagsterInstance, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "alive"))
        server.listen()
        alive = run_of(instance, served_at(socket=str(tmp_path / "alive")))
        dead = run_of(instance, served_at(socket=str(tmp_path / "missing")))
        assert clear_dead_runs(instance) == [dead]
    assert clear_dead_runs(instance) == [alive]  # the socket file exists, but nothing listens


def test_run_of_an_earlier_code_server_is_dead(instance: DagsterInstance) -> None:
    run = run_of(instance, served_at(port=4000), DagsterRunStatus.NOT_STARTED)
    another_servers = run_of(instance, served_at(port=4001), DagsterRunStatus.NOT_STARTED)
    for launched in (run, another_servers):
        starting = DagsterEvent(DagsterEventType.RUN_STARTING.value, idle.name)
        instance.report_dagster_event(starting, run_id=launched)
    hour = 3600.0
    assert clear_dead_runs(instance) == []  # no server was started
    assert clear_dead_runs(instance, NewServer("localhost", 4000, time.time() - hour)) == []
    assert clear_dead_runs(instance, NewServer("localhost", 4000, time.time() + hour)) == [run]
    assert status_of(instance, another_servers) is DagsterRunStatus.STARTING


def test_sockets_are_ignored_with_a_shared_database(tmp_path: Path) -> None:
    with DagsterInstance.ephemeral() as shared:
        run_of(shared, served_at(socket=str(tmp_path / "on another machine")))
        assert clear_dead_runs(shared) == []


def test_dead_canceling_run_is_canceled(instance: DagsterInstance, tmp_path: Path) -> None:
    missing = served_at(socket=str(tmp_path / "missing"))
    canceling = run_of(instance, missing, DagsterRunStatus.CANCELING)
    starting = run_of(instance, missing, DagsterRunStatus.STARTING)
    waiting = run_of(instance, missing, DagsterRunStatus.NOT_STARTED)
    assert set(clear_dead_runs(instance)) == {canceling, starting}
    assert status_of(instance, canceling) is DagsterRunStatus.CANCELED
    assert status_of(instance, starting) is DagsterRunStatus.FAILURE
    assert status_of(instance, waiting) is DagsterRunStatus.NOT_STARTED


def test_dead_run_frees_its_slot_in_the_pool(instance: DagsterInstance, tmp_path: Path) -> None:
    storage = instance.event_log_storage
    storage.set_concurrency_slots("gpu", 1)
    run = run_of(instance, served_at(socket=str(tmp_path / "missing")))
    assert storage.claim_concurrency_slot("gpu", run, "stage").is_claimed
    clear_dead_runs(instance)
    assert storage.claim_concurrency_slot("gpu", "another run", "stage").is_claimed
