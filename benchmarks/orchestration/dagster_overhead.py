"""Overhead of Dagster: loading the definitions, and a run of a batch that is up to date.

python -m benchmarks.orchestration.dagster_overhead ROOT      # a root filled by `pdfgc demo`
"""

import subprocess
import sys
from pathlib import Path

import click

from benchmarks.measuring import Cost, cost_of, show, write_json

IMPORTS = {
    "python": "pass",
    "import dagster": "import dagster",
    "load the definitions": "import pipelines.definitions",
}


def median_of_runs(code: str, runs: int) -> Cost:
    """Median cost of a fresh interpreter that runs `code`."""
    costs = sorted(
        (cost_of(lambda: subprocess.run([sys.executable, "-c", code], check=True)) for _ in range(runs)),
        key=lambda cost: cost.cpu_seconds,
    )
    return costs[len(costs) // 2]


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--runs", default=5, help="Runs of each measurement.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(root: Path, runs: int, json_path: Path | None) -> None:
    """Measure the cost of loading, and of a run with nothing to do, with and without Dagster."""
    loads = {name: median_of_runs(code, runs) for name, code in IMPORTS.items()}
    rows = [(name, cost.cpu_seconds, cost.wall_seconds) for name, cost in loads.items()]
    show("A fresh interpreter", ("", "CPU s", "wall s"), rows)
    bare, run, events = cost_of_current_batch(root)
    rows = [
        ("the steps alone", bare.cpu_seconds, bare.wall_seconds),
        ("the job `preprocess`", run.cpu_seconds, run.wall_seconds),
    ]
    show(f"One batch with nothing to do, {events} events", ("", "CPU s", "wall s"), rows)
    results = {f"{name} wall seconds": cost.wall_seconds for name, cost in loads.items()}
    results |= {"steps wall seconds": bare.wall_seconds, "job wall seconds": run.wall_seconds}
    write_json(json_path, results)


def cost_of_current_batch(root: Path) -> tuple[Cost, Cost, int]:
    """Cost of the steps of the root's first batch as function calls, and as a Dagster job; its events."""
    from dagster import DagsterInstance

    from pipelines.definitions import definitions
    from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step
    from preprocessing.sources.stored_catalog import batch_keys, load_batch
    from storage.root import open_root

    opened = open_root(str(root))
    key = batch_keys(opened)[0]
    batch = load_batch(opened, key)

    def steps() -> None:
        for name in STEPS:
            published = run_step(opened, name, batch, PreprocessingSettings())
            if published.built:
                raise click.ClickException(f"{name} was not up to date; run `pdfgc preprocess` first")

    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("batches", [key])
        job = definitions.resolve_job_def("preprocess")
        config = {
            "resources": {"workspace": {"config": {"root": str(root)}}},
            "loggers": {"plain": {"config": {"log_level": "ERROR"}}},
        }
        steps()
        bare, events = cost_of(steps), list[int]()

        def run() -> None:
            result = job.execute_in_process(instance=instance, partition_key=key, run_config=config)
            events.append(len(instance.all_logs(result.run_id)))

        return bare, cost_of(run), events[0]


if __name__ == "__main__":
    main()
