"""The published evaluations of a run, which its report is built from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upath import UPath

from evaluation.generation.files import FACTS_NAME, GENERATED_VIDEOS, PLAN_NAME, VideoFacts
from evaluation.generation.reenactment import ReenactmentPlan, read_plan
from evaluation.records import RECORDS_TABLE, MetricRecord, read_records
from evaluation.report.judges import Judges, find_judges
from evaluation.report.matrix import MATRIX_TABLE, MatrixCell, read_matrix
from storage.fingerprint import DIGEST_DIGITS
from storage.publishing import Published, current
from storage.root import verified_copy
from training.stage_catalog import RENDERING_STAGE

LIP_SYNC_ASSET: Final = "lip_sync_evaluation"
CONTROL_ASSET: Final = "control_evaluation"
QUALITY_ASSET: Final = "quality_evaluation"
EVALUATIONS: Final = (CONTROL_ASSET, LIP_SYNC_ASSET, QUALITY_ASSET)
DATASET_INPUT: Final = "dataset"


@dataclass(frozen=True)
class RunSources:
    """The published evaluations of a run.

    Attributes:
        published: Asset -> its current build, for the videos and the three evaluations.
        folders: Asset -> local folder of its files.
        plan: The rendered reenactments.
        facts: Checkpoint and clips of the videos.
        records_by_asset: Evaluation -> its records.
        matrix: Cells of the control matrices.
        judges: Networks that trained the run, and networks that measured it.
    """

    run: str
    published: Mapping[str, Published]
    folders: Mapping[str, Path]
    plan: ReenactmentPlan
    facts: VideoFacts
    records_by_asset: Mapping[str, tuple[MetricRecord, ...]]
    matrix: tuple[MatrixCell, ...]
    judges: Judges

    @property
    def records(self) -> list[MetricRecord]:
        """All records, in the report's order."""
        return [record for asset in EVALUATIONS for record in self.records_by_asset[asset]]

    @property
    def checkpoint(self) -> str:
        """Digest of the weights that rendered the videos, shortened."""
        return self._input(RENDERING_STAGE)

    @property
    def dataset(self) -> str:
        """Content digest of the data set that the clips come from, shortened."""
        return self.plan.dataset[:DIGEST_DIGITS]

    def _input(self, name: str) -> str:
        inputs = self.published[GENERATED_VIDEOS].manifest.inputs
        return inputs[name].digest[:DIGEST_DIGITS] if name in inputs else "unknown"


def find_published(root: UPath, run: str) -> dict[str, Published]:
    """Find the current builds that a run's report reads.

    Raises:
        ValueError: one is not published, or an evaluation measured other videos than the current ones.
    """
    builds = {asset: current(root, asset, run) for asset in (GENERATED_VIDEOS, *EVALUATIONS)}
    published = {asset: build for asset, build in builds.items() if build is not None}
    missing = [asset for asset in builds if asset not in published]
    if missing:
        raise ValueError(f"run {run!r} has no {', '.join(missing)} under {root}: pdfgc evaluate --run {run}")
    videos = published[GENERATED_VIDEOS].manifest.content_digest
    for asset in EVALUATIONS:
        measured = published[asset].manifest.inputs.get(GENERATED_VIDEOS)
        if measured is not None and measured.digest != videos:
            raise ValueError(
                f"{asset} of run {run!r} measured videos {measured.digest[:DIGEST_DIGITS]}, but "
                f"{videos[:DIGEST_DIGITS]} are current: pdfgc evaluate --run {run}"
            )
    return published


def read_sources(root: UPath, run: str) -> RunSources:
    """Read a run's evaluations.

    Raises:
        ValueError: see `find_published`.
    """
    published = find_published(root, run)
    folders = {asset: verified_copy(build.directory) for asset, build in published.items()}
    records_by_asset = {asset: tuple(read_records(folders[asset] / RECORDS_TABLE)) for asset in EVALUATIONS}
    records = [record for part in records_by_asset.values() for record in part]
    return RunSources(
        run=run,
        published=published,
        folders=folders,
        plan=read_plan(folders[GENERATED_VIDEOS] / PLAN_NAME),
        facts=VideoFacts.read(folders[GENERATED_VIDEOS] / FACTS_NAME),
        records_by_asset=records_by_asset,
        matrix=tuple(read_matrix(folders[CONTROL_ASSET] / MATRIX_TABLE)),
        judges=find_judges(root, run, records),
    )
