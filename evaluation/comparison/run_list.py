"""All training runs side by side: preset, steps, cost, figures, which is the baseline, and their loss curves.

Imports torch only for the figures of evaluated runs; matplotlib only to draw.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from upath import UPath

from evaluation.comparison.baseline_runs import current_baseline_run
from evaluation.report.numbers import NO_VALUE
from evaluation.report.run_table import FACES, PSNR_SELF, SCORE, run_cells
from evaluation.report.sources import read_sources
from evaluation.report.summary import EVALUATION_REPORT
from storage.publishing import Published, current, published_partitions
from storage.root import local_copy
from training.engine.progress import METRICS_NAME, LossRecord, read_losses
from training.jobs.job import TrainingJob
from training.jobs.stage_run import JOB_NAME
from training.stage_catalog import RENDERING_STAGE, STAGES

SHOWN: Final = (FACES, "yaw", "pitch", "mouth by sound", "blink", SCORE, PSNR_SELF)
"""Rows of `evaluation.report.run_table` that the list shows."""
COLUMNS: Final = 3
PANEL_INCHES: Final = (4.6, 2.9)
POINTS: Final = 400  # a curve


@dataclass(frozen=True)
class ListedRun:
    """A training run.

    Attributes:
        preset: Empty if the run's last stage does not say.
        steps: Stage -> steps, in the stages' order; only those that are trained.
        cpu_hours: Of all its stages.
        finished_at: UTC, ISO 8601, of its last stage.
        figures: Of its report; empty if it was not evaluated.
        is_baseline: Whether later runs are compared with it.
    """

    name: str
    preset: str
    steps: Mapping[str, int]
    cpu_hours: float
    finished_at: str
    figures: Mapping[str, str]
    is_baseline: bool


def list_runs(root: UPath) -> list[ListedRun]:
    """All runs with a trained stage, the one that was trained last first."""
    baseline = current_baseline_run(root)
    names = {name for stage in STAGES for name in published_partitions(root, stage)}
    runs = [_listed(root, name, None if baseline is None else baseline.run) for name in sorted(names)]
    return sorted(runs, key=lambda run: run.finished_at, reverse=True)


def run_curves(root: UPath, runs: Sequence[str], stage: str = RENDERING_STAGE) -> dict[str, list[LossRecord]]:
    """Loss records of a stage by run; runs that have not trained it are left out."""
    curves: dict[str, list[LossRecord]] = {}
    for run in runs:
        published = current(root, stage, run)
        if published is not None and METRICS_NAME in published.manifest.files:
            curves[run] = read_losses(local_copy(published.directory))
    return curves


def draw_run_curves(curves: Mapping[str, Sequence[LossRecord]], stage: str) -> bytes:
    """A PNG with one panel a loss and one line a run, unweighted: weights differ between presets.

    Raises:
        ValueError: there are no records.
    """
    names = list(dict.fromkeys(name for records in curves.values() for one in records for name in one.losses))
    if not names:
        raise ValueError(f"no run has loss records of {stage}: pdfgc train {stage} --run NAME")
    from matplotlib.figure import Figure

    rows = math.ceil(len(names) / COLUMNS)
    size = (PANEL_INCHES[0] * COLUMNS, PANEL_INCHES[1] * rows)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, COLUMNS, place + 1)
        for run, records in curves.items():
            shown = [one for one in records[:: math.ceil(len(records) / POINTS) or 1] if name in one.losses]
            steps, values = [one.step for one in shown], [one.losses[name] for one in shown]
            axes.plot(steps, values, linewidth=1.2, label=run, marker="." if len(shown) < 9 else "")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.set_ylabel("loss (unweighted)", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        if not place:
            axes.legend(fontsize=8)
    figure.suptitle(f"{stage}: {', '.join(curves)}", fontsize=11)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def _listed(root: UPath, name: str, baseline: str | None) -> ListedRun:
    builds: dict[str, Published] = {}
    for stage in STAGES:
        if (build := current(root, stage, name)) is not None:
            builds[stage] = build
    newest = max(builds.values(), key=lambda build: build.manifest.finished_at)
    return ListedRun(
        name=name,
        preset=_preset(newest),
        steps={stage: int(build.manifest.counts.get("steps", 0)) for stage, build in builds.items()},
        cpu_hours=sum(build.manifest.cpu_seconds for build in builds.values()) / 3600,
        finished_at=newest.manifest.finished_at,
        figures=_figures(root, name),
        is_baseline=name == baseline,
    )


def _preset(build: Published) -> str:
    if JOB_NAME not in build.manifest.files:
        return ""
    return TrainingJob.read(local_copy(build.directory) / JOB_NAME).config.preset


def _figures(root: UPath, run: str) -> dict[str, str]:
    if current(root, EVALUATION_REPORT, run) is None:
        return {}
    cells = run_cells(read_sources(root, run))
    return {name: cells.get(name, NO_VALUE) for name in SHOWN}


def as_json_object(runs: Sequence[ListedRun]) -> list[dict[str, Any]]:
    """For `--json`."""
    return [
        {
            "run": run.name,
            "preset": run.preset,
            "steps": dict(run.steps),
            "cpu_hours": round(run.cpu_hours, 3),
            "finished_at": run.finished_at,
            "figures": dict(run.figures),
            "is_baseline": run.is_baseline,
        }
        for run in runs
    ]
