"""The published evaluation of a run, as comparisons between runs read it."""

from dataclasses import dataclass

from upath import UPath

from evaluation.generation.files import GENERATED_VIDEOS, PLAN_NAME
from evaluation.generation.reenactment import ReenactmentPlan, read_plan
from evaluation.records import MetricRecord, read_records
from evaluation.report.sources import DATASET_INPUT, find_published
from evaluation.report.summary import EVALUATION_REPORT, REPORT_TABLE
from storage.publishing import current
from storage.root import verified_copy
from training.stage_catalog import RENDERING_STAGE


@dataclass(frozen=True)
class EvaluatedRun:
    """Records of a run's report, and what they were measured from.

    Attributes:
        run: Name of the training run.
        report: Folder of the published report, relative to the root, with forward slashes.
        report_content: Content digest of the report, 64 hex digits.
        weights: Digest of the weights that rendered the videos, 64 hex digits.
        weights_location: Folder of these weights, relative to the root, with forward slashes.
        dataset: Content digest of the data set at the time of rendering, 64 hex digits.
        plan: The rendered reenactments.
        records: All records of the report.
    """

    run: str
    report: str
    report_content: str
    weights: str
    weights_location: str
    dataset: str
    plan: ReenactmentPlan
    records: tuple[MetricRecord, ...]


def read_evaluated_run(root: UPath, run: str) -> EvaluatedRun:
    """Read a run's current report.

    Raises:
        ValueError: there is no report, or an evaluation has changed since it was written.
    """
    report = current(root, EVALUATION_REPORT, run)
    if report is None:
        raise ValueError(f"run {run!r} has no {EVALUATION_REPORT} under {root}: pdfgc evaluate --run {run}")
    published = find_published(root, run)
    inputs = report.manifest.inputs
    changed = [
        asset
        for asset, source in published.items()
        if asset not in inputs or inputs[asset].digest != source.manifest.content_digest
    ]
    if changed:
        raise ValueError(
            f"the report of run {run!r} is older than {', '.join(changed)}: pdfgc evaluate --run {run}"
        )
    videos = published[GENERATED_VIDEOS]
    weights = videos.manifest.inputs[RENDERING_STAGE]
    return EvaluatedRun(
        run=run,
        report=report.location,
        report_content=report.manifest.content_digest,
        weights=weights.digest,
        weights_location=weights.location,
        dataset=videos.manifest.inputs[DATASET_INPUT].digest,
        plan=read_plan(verified_copy(videos.directory) / PLAN_NAME),
        records=tuple(read_records(verified_copy(report.directory) / REPORT_TABLE)),
    )
