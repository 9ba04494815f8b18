"""How well lips and sound fit in a run's videos: LSE-C, LSE-D and offset by each scorer, and NLSE-C.

Every row is heard with the lip driver's sound: the model's videos, the portrait held still, the pose driver's
clip; the truth of a self video with its own. NLSE-C of a cross video is against the lip driver's clip.

Two scorers. `lip_encoders` are the run's own (those that its third stage was trained against, so that they
flatter it): protocol `crop`. `syncnet_v2` where its weights are: protocol `frame`, of aligned crops. Its
`track` wants 100 frames, and the data set's clips have 64 at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upath import UPath

from evaluation.config import EvaluationConfig
from evaluation.generation.files import GENERATED_VIDEOS, GeneratedVideos, open_generated
from evaluation.generation.generate import run_inputs
from evaluation.records import RECORDS_TABLE, write_records
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from storage.root import local_copy
from training.stage_catalog import RENDERING_STAGE
from weights.resolve import ResolvedWeights, resolve_weights, write_pretrained_weights

LIP_SYNC_EVALUATION: Final = "lip_sync_evaluation"
CODE_VERSION: Final = "1"
SCORER_STAGES: Final = ("stage1_motion", "stage2_lip")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class _Task:
    """What to score, and by whom."""

    root: UPath
    made: GeneratedVideos
    lip_run: str
    syncnet: ResolvedWeights | None


def run_lip_sync_evaluation(
    root: UPath, config: EvaluationConfig, *, force: bool = False, progress: Progress
) -> Published:
    """Score a run's videos unless that is done: `metric_records.parquet`.

    Raises:
        FileNotFoundError: SyncNet's weights are named and are not there.
        ValueError: there are no videos, the run's lip stage is gone, or SyncNet's weights may not be used.
    """
    videos, made = open_generated(root, config.run)
    weights = run_inputs(root, config.run)
    syncnet = resolve_weights(config.syncnet_weights, "syncnet_weights")
    task = _Task(root, made, lip_run(root, config.run), syncnet)
    recipe = Recipe(
        LIP_SYNC_EVALUATION,
        config.run,
        CODE_VERSION,
        {"syncnet_sha256": None if syncnet is None else syncnet.sha256},
        {GENERATED_VIDEOS: videos.manifest.content_digest} | {name: weights[name] for name in SCORER_STAGES},
    )
    return materialise(root, recipe, lambda work: _score(task, work, progress), force=force)


def lip_run(root: UPath, run: str) -> str:
    """The run whose lip stage a run stands on: its own, or its parents'."""
    from training.jobs.job import TrainingJob
    from training.jobs.stage_run import JOB_NAME

    published = current(root, RENDERING_STAGE, run)
    assert published is not None  # `run_inputs` has looked
    config = TrainingJob.read(local_copy(published.directory) / JOB_NAME).config
    return config.parents_run or config.run


def _score(task: _Task, work: Path, progress: Progress) -> BuildReport:
    from evaluation.metrics.lip_sync.distance import LipSyncScorer
    from evaluation.metrics.lip_sync.lip_encoders import load_lip_encoders
    from evaluation.metrics.lip_sync.syncnet import load_syncnet_scorer
    from evaluation.suites.lip_sync_rows import missing_rows, scored_rows

    scorers: list[tuple[LipSyncScorer, str]] = [(load_lip_encoders(task.root, task.lip_run), "crop")]
    if task.syncnet is not None:
        scorers.append((load_syncnet_scorer(task.syncnet.path), "frame"))
    rows = []
    for scorer, protocol in scorers:
        progress(f"scoring {len(task.made.plan.reenactments)} videos by {scorer.name}, protocol {protocol}")
        rows += scored_rows(task.made, scorer, protocol)
    if task.syncnet is None:
        rows += missing_rows()
    write_records(work / RECORDS_TABLE, rows)
    write_pretrained_weights(work, [task.syncnet])
    missing = sum(row.value is None for row in rows)
    return BuildReport(
        counts={"figures": len(rows), "missing": missing, "scorers": len(scorers)}, refusals={}
    )
