"""Rows of lip sync: every video in all its rows, by one scorer and protocol."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.animation.media import read_sound
from evaluation.generation.files import GeneratedVideos, squeezed
from evaluation.generation.reenactment import Reenactment
from evaluation.metrics.lip_sync.distance import LipSyncScore, LipSyncScorer, NotScored, score_embeddings
from evaluation.metrics.lip_sync.lse_crop import score_crops
from evaluation.metrics.lip_sync.lse_syncnet_frame import squash
from evaluation.metrics.lip_sync.nlse_c import NormalisedConfidence, nlse_c, overall_nlse_c
from evaluation.metrics.measured_video import Figure, MeasuredVideo
from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, MetricRecord
from preprocessing.schema import SAMPLES_PER_FRAME

Score = LipSyncScore | NotScored
Pictures = Iterable[NDArray[np.uint8]]
SYNCNET: Final = "syncnet_v2"
SYNCNET_MISSING: Final = (
    "no SyncNet weights: pdfgc weights fetch syncnet_v2, and give syncnet_v2 as the SyncNet weights "
    "(--syncnet-weights)"
)
ALL_VIDEOS: Final = "all videos"


@dataclass(frozen=True)
class _Scored:
    """A video's scores by method, and that of its truth: the clip that its lips should follow."""

    video: Reenactment
    rows: Mapping[str, Score]
    truth: Score


def scored_rows(made: GeneratedVideos, scorer: LipSyncScorer, protocol: str) -> list[MetricRecord]:
    """Figures of all self and cross videos.

    Returns:
        `lse_c_P`, `lse_d_P`, `offset_P` of each video and method, P the protocol; of the model's also
        `nlse_c_P`, `truth_lse_c_P`, and once over all videos `nlse_c_overall_P`.

    Args:
        made: The videos.
        scorer: Whose embeddings.
        protocol: crop, or frame.
    """
    rows: list[MetricRecord] = []
    truths: dict[tuple[str, int], Score] = {}
    for kind in ("self", "cross"):
        scored = [_score(made, one, scorer, protocol, truths) for one in made.plan.of_task(kind)]
        for one in scored:
            for method, score in one.rows.items():
                rows += _lse_rows(MeasuredVideo(kind, method, scorer.name, one.video.name), score, protocol)
            rows += _nlse_rows(kind, scorer.name, one.video.name, nlse_c(one.rows[MODEL], one.truth))
        if scored:
            overall = overall_nlse_c([(one.rows[MODEL], one.truth) for one in scored])
            shown = MeasuredVideo(kind, MODEL, scorer.name, ALL_VIDEOS)
            figure = Figure(overall.nlse_c, overall.undefined_because)
            rows.append(shown.figure(f"nlse_c_overall_{protocol}", figure, "", "higher"))
    return rows


def missing_rows() -> list[MetricRecord]:
    """What stands in the tables where SyncNet's weights are not given."""
    shown = MeasuredVideo("self", MODEL, SYNCNET, ALL_VIDEOS)
    because = Figure(None, SYNCNET_MISSING)
    return [
        shown.figure("lse_c_frame", because, "", "higher"),
        shown.figure("lse_d_frame", because, "", "lower"),
    ]


def score_pictures(
    pictures: Pictures, sound: NDArray[np.float32], scorer: LipSyncScorer, protocol: str
) -> Score:
    """Score pictures with a sound, both from frame 0.

    Raises:
        ValueError: a protocol that cannot be had without a file.
    """
    if protocol == "crop":
        return score_crops(pictures, sound, scorer)
    if protocol == "frame":
        embedded = scorer.embed_frames(squash(picture) for picture in pictures)
        return score_embeddings(scorer.name, protocol, embedded, scorer.embed_sound(sound))
    raise ValueError(f"protocol {protocol!r} is not made of pictures; there are crop and frame")


def _score(
    made: GeneratedVideos,
    one: Reenactment,
    scorer: LipSyncScorer,
    protocol: str,
    truths: dict[tuple[str, int], Score],
) -> _Scored:
    lip = one.drivers["lip"]
    sound = read_sound(made.clip(lip))[: one.frames * SAMPLES_PER_FRAME]
    scores: dict[str, Score] = {}
    for method in (MODEL, COPY_PORTRAIT, COPY_TARGET):
        pictures = made.method_frames(one, method)
        assert pictures is not None  # only the truth may be missing
        scores[method] = score_pictures(pictures, sound, scorer, protocol)
    if (lip, one.frames) not in truths:
        own = (squeezed(picture, made.facts.side_px) for picture in made.clip_frames(lip, one.frames))
        truths[lip, one.frames] = score_pictures(own, sound, scorer, protocol)
    truth = truths[lip, one.frames]
    if one.task == "self":
        scores[GROUND_TRUTH] = truth
    return _Scored(one, scores, truth)


def _lse_rows(shown: MeasuredVideo, score: Score, protocol: str) -> list[MetricRecord]:
    if isinstance(score, NotScored):
        missing = Figure(None, f"{score.reason}: {score.detail}")
        confidence = distance = offset = missing
    else:
        confidence, distance = Figure(score.lse_c), Figure(score.lse_d)
        offset = Figure(float(score.offset_frames))
    return [
        shown.figure(f"lse_c_{protocol}", confidence, "", "higher"),
        shown.figure(f"lse_d_{protocol}", distance, "", "lower"),
        shown.figure(f"offset_{protocol}", offset, "frames", "neither"),
    ]


def _nlse_rows(kind: str, scorer: str, video: str, normalised: NormalisedConfidence) -> list[MetricRecord]:
    shown, protocol = MeasuredVideo(kind, MODEL, scorer, video), normalised.protocol
    truth = normalised.lse_c_truth
    told = Figure(truth) if truth is not None else Figure(None, normalised.undefined_because)
    figure = Figure(normalised.nlse_c, normalised.undefined_because)
    return [
        shown.figure(f"nlse_c_{protocol}", figure, "", "higher"),
        shown.figure(f"truth_lse_c_{protocol}", told, "", "neither"),
    ]
