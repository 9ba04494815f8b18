"""Batches on a Ray cluster of two nodes, one of which is killed: the deployment of `dagster.ray.yaml`.

The test starts its own PostgreSQL server and its own cluster, whose jobs need a token.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus

from pipelines.operations.cluster_resources import RAY_VARIABLE
from tests.factories.pipelines.deployment import (
    ENDED,
    WORKSPACE,
    Deployment,
    batch_runs,
    code_server_answers,
    contents,
    contents_on_sqlite,
    dagster,
    launch_batch,
    one_video_each,
    postgres_deployment,
    scan,
    until,
)
from tests.factories.pipelines.postgres_server import NoPostgresError, free_port
from tests.factories.training.ray_cluster import RayCluster, ray_cluster

pytestmark = pytest.mark.slow
POLL = "poll_interval_seconds: "


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    variables = {
        RAY_VARIABLE: f"http://127.0.0.1:{free_port()}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "PDFGC__CLUSTER__BATCH_CPUS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        with postgres_deployment("dagster.ray.yaml", monkeypatch) as started:
            settings = started.folder / "home" / "dagster.yaml"
            assert f"{POLL}30" in settings.read_text()
            settings.write_text(settings.read_text().replace(f"{POLL}30", f"{POLL}3"))
            yield started
    except NoPostgresError as error:
        pytest.skip(str(error))


@pytest.fixture
def cluster(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    for name, value in deployment.variables.items():  # jobs have the variables of their node
        monkeypatch.setenv(name, value)
    port = int(os.environ[RAY_VARIABLE].rpartition(":")[2])
    with ray_cluster(2, cpus=1, jobs_port=port) as started:
        yield started


def test_batch_of_a_lost_node_runs_on_the_other(
    deployment: Deployment, cluster: RayCluster, tmp_path: Path
) -> None:
    videos = one_video_each(tmp_path / "videos", people=2)
    with DagsterInstance.get() as instance, deployment.start("pdfgc-code"):
        keys = scan(instance, videos)
        assert len(keys) == 2
        until(lambda: code_server_answers(deployment), "the code server", deployment)
        dagster("sensor", "stop", "-w", str(WORKSPACE), "automation")
        for key in keys:
            launch_batch(key)
        with deployment.start("pdfgc-daemon"):
            until(
                lambda: batch_runs(instance) == [DagsterRunStatus.STARTED] * 2,
                "the start of both runs",
                deployment,
            )
            cluster.kill_node(1)
            until(
                lambda: (
                    len(batch_runs(instance)) == 3 and all(status in ENDED for status in batch_runs(instance))
                ),
                "the end of the runs and of the retry",
                deployment,
            )
        statuses = sorted(status.value for status in batch_runs(instance))
        assert statuses == ["FAILURE", "SUCCESS", "SUCCESS"], deployment.logs()
    for key in keys:
        assert len(contents(Path(deployment.variables["PDFGC_ROOT"]), key)) == 7
    first = keys[0]
    assert contents(Path(deployment.variables["PDFGC_ROOT"]), first) == contents_on_sqlite(
        videos, tmp_path, first
    )
