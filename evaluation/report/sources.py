"""What the report is made of: the published evaluations of a run, and where their figures come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upath import UPath

from evaluation.generation.files import FACTS_NAME, GENERATED_VIDEOS, PLAN_NAME, VideoFacts
from evaluation.generation.reenactment import ReenactmentPlan, read_plan
from evaluation.records import RECORDS_TABLE, MetricRecord, read_records
from evaluation.report.matrix import MATRIX_TABLE, MatrixCell, read_matrix
from storage.publishing import Published, current
from storage.root import local_copy
from training.stage_catalog import RENDERING_STAGE

LIP_SYNC_ASSET: Final = "lip_sync_evaluation"
CONTROL_ASSET: Final = "control_evaluation"
QUALITY_ASSET: Final = "quality_evaluation"
EVALUATIONS: Final = (CONTROL_ASSET, LIP_SYNC_ASSET, QUALITY_ASSET)
DATASET_INPUT: Final = "dataset"
DIGEST_DIGITS: Final = 16  # of 64: as the rest of the project shows digests


@dataclass(frozen=True)
class RunSources:
    """A run's evaluations as they are published.

    Attributes:
        published: Asset -> what is current of it: the videos and the three evaluations.
        folders: Asset -> its files, local.
        plan: Which videos.
        facts: What made them.
        figures: Evaluation -> its rows.
        matrix: Cells of the control matrices.
    """

    run: str
    published: Mapping[str, Published]
    folders: Mapping[str, Path]
    plan: ReenactmentPlan
    facts: VideoFacts
    figures: Mapping[str, tuple[MetricRecord, ...]]
    matrix: tuple[MatrixCell, ...]

    @property
    def records(self) -> list[MetricRecord]:
        """All figures, in the report's order."""
        return [row for asset in EVALUATIONS for row in self.figures[asset]]

    @property
    def checkpoint(self) -> str:
        """Content digest of the weights that made the videos, its first digits."""
        return self._input(RENDERING_STAGE)

    @property
    def dataset(self) -> str:
        """Content digest of the data set that the clips are drawn from, its first digits."""
        return self.plan.dataset[:DIGEST_DIGITS]

    def _input(self, name: str) -> str:
        inputs = self.published[GENERATED_VIDEOS].manifest.inputs
        return inputs[name][:DIGEST_DIGITS] if name in inputs else "not told"


def find_published(root: UPath, run: str) -> dict[str, Published]:
    """What a report of a run reads.

    Raises:
        ValueError: something of it is not published, or an evaluation is of other videos than those that
            are current.
    """
    found = {asset: current(root, asset, run) for asset in (GENERATED_VIDEOS, *EVALUATIONS)}
    published = {asset: one for asset, one in found.items() if one is not None}
    missing = [asset for asset in found if asset not in published]
    if missing:
        raise ValueError(
            f"run {run!r} has no {', '.join(missing)} under {root} yet: pdfgc evaluate --run {run} makes them"
        )
    videos = published[GENERATED_VIDEOS].manifest.content_digest
    for asset in EVALUATIONS:
        read = published[asset].manifest.inputs.get(GENERATED_VIDEOS, videos)
        if read != videos:
            raise ValueError(
                f"{asset} of run {run!r} measured videos {read[:DIGEST_DIGITS]}, published are now "
                f"{videos[:DIGEST_DIGITS]}: pdfgc evaluate --run {run} measures them anew"
            )
    return published


def read_sources(root: UPath, run: str) -> RunSources:
    """Read a run's evaluations.

    Raises:
        ValueError: as `find_published`.
    """
    published = find_published(root, run)
    folders = {asset: local_copy(one.directory) for asset, one in published.items()}
    return RunSources(
        run=run,
        published=published,
        folders=folders,
        plan=read_plan(folders[GENERATED_VIDEOS] / PLAN_NAME),
        facts=VideoFacts.read(folders[GENERATED_VIDEOS] / FACTS_NAME),
        figures={asset: tuple(read_records(folders[asset] / RECORDS_TABLE)) for asset in EVALUATIONS},
        matrix=tuple(read_matrix(folders[CONTROL_ASSET] / MATRIX_TABLE)),
    )
