"""A deployment on PostgreSQL: two batches at once, while the daemon is killed and restarted.

The test starts its own PostgreSQL server; the commands are those of the systemd units.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance, DagsterRunStatus

from preprocessing.orchestration.steps import STEPS
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
from tests.factories.pipelines.postgres_server import NoPostgresError

pytestmark = pytest.mark.slow


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    try:
        with postgres_deployment("dagster.postgres.yaml", monkeypatch) as started:
            yield started
    except NoPostgresError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return one_video_each(tmp_path_factory.mktemp("videos"), people=2)


def test_two_batches_survive_the_death_of_the_daemon(
    deployment: Deployment, videos: Path, tmp_path: Path
) -> None:
    with DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        with deployment.start("pdfgc-code"):
            keys = scan(instance, videos)
            assert len(keys) == 2
            until(lambda: code_server_answers(deployment), "the code server", deployment)
            # The data set is left out. new_videos stays on and must not start the batches again.
            dagster("sensor", "stop", "-w", str(WORKSPACE), "automation")
            for key in keys:
                launch_batch(key)
            assert batch_runs(instance) == [DagsterRunStatus.QUEUED] * 2
            with deployment.start("pdfgc-daemon") as daemon:
                until(
                    lambda: DagsterRunStatus.STARTED in batch_runs(instance), "the start of a run", deployment
                )
                daemon.send_signal(signal.SIGKILL)
                daemon.wait()
            assert any(status not in ENDED for status in batch_runs(instance))
            with deployment.start("pdfgc-daemon"):
                until(
                    lambda: all(status in ENDED for status in batch_runs(instance)),
                    "the end of the runs",
                    deployment,
                )
        assert batch_runs(instance) == [DagsterRunStatus.SUCCESS] * 2, deployment.logs()
        for name in STEPS:
            events = instance.fetch_materializations(AssetRecordsFilter(AssetKey(name)), limit=100).records
            assert Counter(event.partition_key for event in events) == Counter(keys), name
    assert deployment.processes() == []
    assert deployment.sockets() == []
    first = keys[0]
    assert contents(Path(deployment.variables["PDFGC_ROOT"]), first) == contents_on_sqlite(
        videos, tmp_path, first
    )
