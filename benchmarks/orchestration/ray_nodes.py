"""The same batches on one and on two Ray nodes of a core each: throughput, and what a run costs beside steps.

Starts PostgreSQL, a Ray cluster and the processes of `deploy/` with `dagster.ray.yaml` on this machine, as
`tests/pipelines/test_ray.py` does; every batch is one rendered video. With two cores, Dagster's daemon and
code server, PostgreSQL and Ray share them with the nodes.

    python -m benchmarks.orchestration.ray_nodes [--batches 4] [--seconds 30] [--json FILE]
"""

import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from benchmarks.measuring import show, write_json
from demo_corpus.corpus import CorpusSettings, make_corpus
from pipelines.operations.cluster_resources import RAY_VARIABLE
from tests.factories.pipelines.deployment import (
    ENDED,
    WORKSPACE,
    Deployment,
    batch_runs,
    code_server_answers,
    contents,
    dagster,
    launch_batch,
    postgres_deployment,
    scan,
    until,
)
from tests.factories.pipelines.postgres_server import free_port
from tests.factories.training.ray_cluster import ray_cluster

NODES: Final = (1, 2)


@dataclass(frozen=True)
class Measured:
    """Batches on a number of nodes.

    seconds: from the first run's start to the last one's end; step_seconds: of all steps; run_seconds: of all
    runs, from start to end. digests: what each batch holds, by step.
    """

    nodes: int
    batches: int
    seconds: float
    run_seconds: float
    step_seconds: float
    digests: dict[str, dict[str, str]]


def measure(nodes: int, videos: Path) -> Measured:
    """Preprocess each video as a batch on a new cluster."""
    with pytest.MonkeyPatch.context() as patch:
        variables = {
            RAY_VARIABLE: f"http://127.0.0.1:{free_port()}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "PDFGC__CLUSTER__BATCH_CPUS": "1",
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        with postgres_deployment("dagster.ray.yaml", patch) as deployment:
            for name, value in deployment.variables.items():
                patch.setenv(name, value)
            port = int(os.environ[RAY_VARIABLE].rpartition(":")[2])
            with ray_cluster(nodes, cpus=1, jobs_port=port):
                return _run_batches(nodes, videos, deployment)


def _run_batches(nodes: int, videos: Path, deployment: Deployment) -> Measured:
    with DagsterInstance.get() as instance, deployment.start("pdfgc-code"):
        keys = scan(instance, videos)
        until(lambda: code_server_answers(deployment), "the code server", deployment)
        dagster("sensor", "stop", "-w", str(WORKSPACE), "automation")
        for key in keys:
            launch_batch(key)
        with deployment.start("pdfgc-daemon"):
            until(lambda: all(status in ENDED for status in batch_runs(instance)), "the batches", deployment)
        records = instance.get_run_records(RunsFilter(job_name="preprocess"))
        assert [record.dagster_run.status for record in records] == [DagsterRunStatus.SUCCESS] * len(keys), (
            deployment.logs()
        )
        spans = [(record.start_time or 0.0, record.end_time or 0.0) for record in records]
        steps = [
            (step.end_time or 0.0) - (step.start_time or 0.0)
            for record in records
            for step in instance.get_run_step_stats(record.dagster_run.run_id)
        ]
        return Measured(
            nodes,
            len(keys),
            max(end for _, end in spans) - min(start for start, _ in spans),
            sum(end - start for start, end in spans),
            sum(steps),
            {key: contents(deployment.variables["PDFGC_ROOT"], key) for key in keys},
        )


@click.command(help=__doc__)
@click.option("--batches", default=4, show_default=True, help="Batches of one video each.")
@click.option("--seconds", default=30.0, show_default=True, help="Length of each video.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures here.")
def main(batches: int, seconds: float, output: Path | None) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder, "videos")
        make_corpus(videos, CorpusSettings(people=batches, videos=1, seconds_per_video=seconds, side_px=256))
        results = [measure(nodes, videos) for nodes in NODES]
    first = results[0]
    rows = [
        (
            str(result.nodes),
            f"{result.seconds:.0f} s",
            f"{first.seconds / result.seconds:.2f}",
            f"{result.step_seconds / result.batches:.1f} s",
            f"{(result.run_seconds - result.step_seconds) / result.batches:.1f} s",
            "yes" if result.digests == first.digests else "no",
        )
        for result in results
    ]
    head = ("nodes", "all batches", "throughput", "steps a batch", "beside steps, a run", "same bytes")
    show(f"{first.batches} batches of one video of {seconds:g} s", head, rows)
    write_json(output, {"results": [asdict(result) for result in results]})


if __name__ == "__main__":
    main()
