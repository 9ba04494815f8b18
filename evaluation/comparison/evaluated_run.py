"""An evaluated run as comparisons over time see it: its figures, and what they were measured of."""

from dataclasses import dataclass

from upath import UPath

from evaluation.generation.files import GENERATED_VIDEOS, PLAN_NAME
from evaluation.generation.reenactment import ReenactmentPlan, read_plan
from evaluation.records import MetricRecord, read_records
from evaluation.report.sources import DATASET_INPUT, find_published
from evaluation.report.summary import EVALUATION_REPORT, REPORT_TABLE
from storage.publishing import current
from storage.root import local_copy
from training.stage_catalog import RENDERING_STAGE


@dataclass(frozen=True)
class EvaluatedRun:
    """A run's report.

    Attributes:
        run: Name of the training run.
        report: The report's published folder, relative to the root, forward slashes.
        report_content: Content digest of the report, 64 hex digits.
        weights: Digest of the last stage's weights that made the videos, 64 hex digits.
        dataset: Content digest of the data set that was current when the videos were made.
        plan: Which videos.
        figures: Every figure of the report.
    """

    run: str
    report: str
    report_content: str
    weights: str
    dataset: str
    plan: ReenactmentPlan
    figures: tuple[MetricRecord, ...]


def read_evaluated(root: UPath, run: str) -> EvaluatedRun:
    """Read a run's current report.

    Raises:
        ValueError: there is none, or what it was made of has changed since.
    """
    report = current(root, EVALUATION_REPORT, run)
    if report is None:
        raise ValueError(
            f"run {run!r} has no {EVALUATION_REPORT} under {root}: pdfgc evaluate --run {run} makes it"
        )
    published = find_published(root, run)
    read = report.manifest.inputs
    changed = [asset for asset, one in published.items() if read.get(asset) != one.manifest.content_digest]
    if changed:
        raise ValueError(
            f"the report of run {run!r} is older than {', '.join(changed)}: pdfgc evaluate --run {run} makes "
            "it anew"
        )
    videos = published[GENERATED_VIDEOS]
    return EvaluatedRun(
        run=run,
        report=report.directory.path.removeprefix(root.path).strip("/"),
        report_content=report.manifest.content_digest,
        weights=videos.manifest.inputs[RENDERING_STAGE],
        dataset=videos.manifest.inputs[DATASET_INPUT],
        plan=read_plan(local_copy(videos.directory) / PLAN_NAME),
        figures=tuple(read_records(local_copy(report.directory) / REPORT_TABLE)),
    )
