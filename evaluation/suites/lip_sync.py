"""How well lips and sound match in a run's videos: LSE-C, LSE-D and offset by each scorer, and NLSE-C.

The videos of every method are heard with the lip driver's sound: the model's, the still portrait, the pose
driver's clip, and the truth of a self video. The reference of NLSE-C is the lip driver's clip.

Two scorers. `lip_encoders` are the run's own, protocol `crop`; stage 3 was trained against them, so they
favour it. `syncnet_v2`, if its weights are given, protocol `frame`, of aligned crops; its protocol `track`
needs 100 frames, and the clips of the data set have at most 64.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from evaluation.animation.media import read_sound
from evaluation.config import EvaluationConfig
from evaluation.generation.files import GENERATED_VIDEOS, GeneratedVideos, open_generated, resize_roundtrip
from evaluation.generation.generate import run_inputs
from evaluation.generation.reenactment import Reenactment
from evaluation.metrics.lip_sync.distance import LipSyncScorer, Score, score_embeddings
from evaluation.metrics.lip_sync.lse_crop import score_crops
from evaluation.metrics.lip_sync.lse_syncnet_frame import squash
from evaluation.metrics.metric import (
    MeasuredVideo,
    Metric,
    load_metrics,
    recipe_settings,
    resolve_metric_weights,
)
from evaluation.records import (
    ALL_VIDEOS,
    COPY_PORTRAIT,
    COPY_TARGET,
    GROUND_TRUTH,
    MODEL,
    RECORDS_TABLE,
    MetricRecord,
    Task,
    write_records,
)
from preprocessing.schema import SAMPLES_PER_FRAME
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from storage.root import local_copy
from training.jobs.config import STARTER_NAME
from training.stage_catalog import RENDERING_STAGE
from weights.resolve import ResolvedWeights, write_pretrained_weights

logger = logging.getLogger(__name__)

LIP_SYNC_EVALUATION: Final = "lip_sync_evaluation"
CODE_VERSION: Final = "1"
SCORER_STAGES: Final = ("stage1_motion", "stage2_lip")
TASKS: Final[tuple[Task, ...]] = ("self", "cross")


def run_lip_sync_evaluation(root: UPath, config: EvaluationConfig, *, force: bool = False) -> Published:
    """Publish `metric_records.parquet` for the videos of a run, unless it is up to date.

    Raises:
        FileNotFoundError: SyncNet's weights are named and do not exist.
        ValueError: there are no videos, the run's lip stage is gone, or SyncNet's weights may not be used.
    """
    from evaluation.metrics import table

    videos, generated = open_generated(root, config.run)
    stages = run_inputs(root, config.run)
    lips = lip_run(root, config.run)
    scorer_stages = (RENDERING_STAGE,) if config.run == STARTER_NAME else SCORER_STAGES
    files = resolve_metric_weights(table.LIP_SYNC_METRICS, config)
    recipe = Recipe(
        LIP_SYNC_EVALUATION,
        config.run,
        CODE_VERSION,
        recipe_settings(table.LIP_SYNC_METRICS, files),
        {GENERATED_VIDEOS: videos.as_input()} | {name: stages[name] for name in scorer_stages},
    )

    def build(work: Path) -> BuildReport:
        ready, missing = load_metrics(table.LIP_SYNC_METRICS, files)
        scorers = _load_scorers(root, lips, files)
        records: list[MetricRecord] = []
        for protocol, scorer in scorers.items():
            logger.info(
                "Scoring %d videos by %s, protocol %s",
                len(generated.plan.reenactments),
                scorer.name,
                protocol,
            )
            records += score_generated(generated, scorer, protocol, ready)
        records += missing
        write_records(work / RECORDS_TABLE, records)
        write_pretrained_weights(work, files.values())
        without_value = sum(record.value is None for record in records)
        return BuildReport(
            counts={"records": len(records), "missing": without_value, "scorers": len(scorers)}, refusals={}
        )

    return materialise(root, recipe, build, force=force)


def lip_run(root: UPath, run: str) -> str:
    """The run whose lip stage a run builds on: its own, or that of its parents."""
    from training.jobs.job import TrainingJob
    from training.jobs.stage_run import JOB_NAME

    if run == STARTER_NAME:
        return run
    published = current(root, RENDERING_STAGE, run)
    assert published is not None  # `run_inputs` has checked
    job = TrainingJob.read(local_copy(published.directory) / JOB_NAME)
    return job.config.parents_run or job.config.run


def _load_scorers(
    root: UPath, run: str, files: Mapping[str, ResolvedWeights | None]
) -> dict[str, LipSyncScorer]:
    """Scorers by the protocol that they use."""
    from evaluation.metrics.lip_sync.lip_encoders import load_lip_encoders
    from evaluation.metrics.lip_sync.syncnet import load_syncnet_scorer

    scorers: dict[str, LipSyncScorer] = {"crop": load_lip_encoders(root, run)}
    syncnet = files["syncnet_weights"]
    if syncnet is not None:
        scorers["frame"] = load_syncnet_scorer(syncnet.path)
    return scorers


@dataclass(frozen=True)
class _ScoredReenactment:
    """Scores of a reenactment's videos by method, and of its reference: the lip driver's clip."""

    reenactment: Reenactment
    by_method: Mapping[str, Score]
    truth: Score


def score_generated(
    generated: GeneratedVideos, scorer: LipSyncScorer, protocol: str, metrics: Sequence[Metric[Any, Any]]
) -> list[MetricRecord]:
    """Records of all self and cross videos by one scorer.

    Args:
        generated: The videos.
        scorer: Embeds pictures and sound.
        protocol: crop or frame.
        metrics: Those of other protocols are skipped.
    """
    metrics = [metric for metric in metrics if metric.protocol == protocol]
    records: list[MetricRecord] = []
    truths: dict[tuple[str, int], Score] = {}
    for task in TASKS:
        scored = [
            _score(generated, reenactment, scorer, protocol, truths)
            for reenactment in generated.plan.of_task(task)
        ]
        for metric in metrics:
            if metric.over_all_videos:
                records += _overall_records(metric, task, scorer.name, scored)
                continue
            for scores in scored:
                records += metric.records(
                    (MeasuredVideo(task, method, scorer.name, scores.reenactment.name), score, scores.truth)
                    for method, score in scores.by_method.items()
                )
    return records


def _overall_records(
    metric: Metric[Any, Any], task: Task, scorer: str, scored: Sequence[_ScoredReenactment]
) -> list[MetricRecord]:
    truths = [scores.truth for scores in scored]
    methods = set[str]().union(*(scores.by_method for scores in scored))
    return metric.records(
        (
            MeasuredVideo(task, method, scorer, ALL_VIDEOS),
            [scores.by_method[method] for scores in scored],
            truths,
        )
        for method in sorted(methods)
        if metric.applies_to(task, method)
    )


def score_pictures(
    pictures: Iterable[NDArray[np.uint8]], sound: NDArray[np.float32], scorer: LipSyncScorer, protocol: str
) -> Score:
    """Score pictures with a sound, both from frame 0.

    Raises:
        ValueError: a protocol that needs a file.
    """
    if protocol == "crop":
        return score_crops(pictures, sound, scorer)
    if protocol == "frame":
        embedded = scorer.embed_frames(squash(picture) for picture in pictures)
        return score_embeddings(scorer.name, protocol, embedded, scorer.embed_sound(sound))
    raise ValueError(f"pictures can be scored by protocol crop or frame, not by {protocol!r}")


def _score(
    generated: GeneratedVideos,
    reenactment: Reenactment,
    scorer: LipSyncScorer,
    protocol: str,
    truths: dict[tuple[str, int], Score],
) -> _ScoredReenactment:
    clip, frames = reenactment.drivers["lip"], reenactment.frames
    sound = read_sound(generated.clip(clip))[: frames * SAMPLES_PER_FRAME]
    scores: dict[str, Score] = {}
    for method in (MODEL, COPY_PORTRAIT, COPY_TARGET):
        pictures = generated.method_frames(reenactment, method)
        assert pictures is not None  # only the truth may be missing
        scores[method] = score_pictures(pictures, sound, scorer, protocol)
    if (clip, frames) not in truths:
        true_pictures = (
            resize_roundtrip(picture, generated.facts.side_px)
            for picture in generated.clip_frames(clip, frames)
        )
        truths[clip, frames] = score_pictures(true_pictures, sound, scorer, protocol)
    truth = truths[clip, frames]
    if reenactment.task == "self":
        scores[GROUND_TRUTH] = truth
    return _ScoredReenactment(reenactment, scores, truth)
