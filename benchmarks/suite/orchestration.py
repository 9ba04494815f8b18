"""Figures of Dagster's overhead and of how long commands take."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.measuring import Cost, cost_of
from benchmarks.orchestration.dagster_overhead import IMPORTS, cost_of_current_batch, median_of_runs
from benchmarks.suite.figures import Figure

COMMANDS: Final = {"--help": "<= .5", "status": "<= 2"}
"""Command -> aim in seconds."""
UNIT: Final = "CPU s"


def commands(root: Path, runs: int) -> list[Figure]:
    """Loading the definitions, and commands, each in a new process; CPU seconds, median of the runs."""
    loads = {name: median_of_runs(code, runs).cpu_seconds for name, code in IMPORTS.items()}
    definitions, dagster = loads["load the definitions"], loads["import dagster"]
    return [
        Figure("definitions", definitions, UNIT, "dagster alone", dagster, (definitions / dagster,)),
        *(
            Figure(f"pdfgc {command}", _command(command, root, runs).cpu_seconds, UNIT, aim=aim)
            for command, aim in COMMANDS.items()
        ),
    ]


def batch(root: Path) -> list[Figure]:
    """What Dagster adds to a batch that is up to date."""
    bare, job, events = cost_of_current_batch(root)
    return [
        Figure("job of a batch, up to date", job.cpu_seconds, UNIT, "its steps alone", bare.cpu_seconds),
        Figure("events of that job", events, "events"),
    ]


def _command(command: str, root: Path, runs: int) -> Cost:
    """Median cost of a command in a new process."""
    work = [sys.executable, "-m", "pipelines", command]
    environment = os.environ | {"PDFGC_ROOT": str(root)}

    def run() -> None:
        subprocess.run(work, check=True, env=environment, stdout=subprocess.DEVNULL)

    return sorted((cost_of(run) for _ in range(runs)), key=lambda cost: cost.cpu_seconds)[runs // 2]
