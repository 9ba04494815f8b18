"""Rows of quality: every self and cross video in all its rows, a video's pictures held at a time."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.generation.files import GeneratedVideos
from evaluation.generation.reenactment import Reenactment
from evaluation.metrics.pictures.csim_insightface import ArcFace, csim_insightface_row, load_arcface
from evaluation.metrics.pictures.fid_inception import fid_inception_row, load_fid_inception
from evaluation.metrics.pictures.lpips_alex import LpipsAlex, load_lpips_alex, lpips_alex_row
from evaluation.metrics.pictures.psnr_ssim import psnr_ssim_rows
from evaluation.metrics.pictures.sharpness import blur_effect_row
from evaluation.readings.face import FaceReader
from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, MetricRecord
from evaluation.suites.quality import QualityWeights

METHODS: Final = (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)
FID_ROWS: Final = (MODEL, COPY_PORTRAIT)
"""Against the truth's own pictures, so the truth itself and the copied target, which is it, have 0."""


@dataclass(frozen=True)
class _Networks:
    """What was loaded."""

    lpips: LpipsAlex | None
    arcface: ArcFace | None
    reader: FaceReader | None  # landmarks are wanted by ArcFace alone


def quality_rows(made: GeneratedVideos, weights: QualityWeights) -> list[MetricRecord]:
    """Figures of all self and cross videos.

    Raises:
        ValueError: weights are not what they should be.
    """
    rows: list[MetricRecord] = []
    with ExitStack() as stack:
        arcface = load_arcface(weights.csim)
        reader = None if arcface is None else stack.enter_context(FaceReader())
        networks = _Networks(load_lpips_alex(weights.lpips), arcface, reader)
        for one in (*made.plan.of_task("self"), *made.plan.of_task("cross")):
            rows += _video_rows(made, one, networks)
    return rows + _fid_rows(made, weights)


def _video_rows(made: GeneratedVideos, one: Reenactment, networks: _Networks) -> list[MetricRecord]:
    portrait = made.portrait(one.name)
    shown = {
        method: list(frames) for method in METHODS if (frames := made.method_frames(one, method)) is not None
    }
    landmarks = {method: _landmarks(pictures, networks.reader) for method, pictures in shown.items()}
    of_portrait = (portrait, _landmarks([portrait], networks.reader)[0])
    rows: list[MetricRecord] = []
    for method, pictures in shown.items():
        if method == COPY_TARGET and GROUND_TRUTH in shown:  # which it is: measured once
            rows += [replace(same, method=COPY_TARGET) for same in rows if same.method == GROUND_TRUTH]
            continue
        if GROUND_TRUTH in shown:
            truth = shown[GROUND_TRUTH]
            rows += psnr_ssim_rows(pictures, truth, task=one.task, method=method, video=one.name)
            rows.append(
                lpips_alex_row(pictures, truth, networks.lpips, task=one.task, method=method, video=one.name)
            )
        rows.append(blur_effect_row(pictures, task=one.task, method=method, video=one.name))
        rows.append(
            csim_insightface_row(
                pictures,
                landmarks[method],
                of_portrait,
                networks.arcface,
                task=one.task,
                method=method,
                video=one.name,
            )
        )
    return rows


def _landmarks(pictures: list[NDArray[np.uint8]], reader: FaceReader | None) -> NDArray[np.float32]:
    """[T, 478, 3]; NaN where nobody asks for them."""
    if reader is None:
        return np.full((len(pictures), 1, 3), np.nan, np.float32)
    return reader.read(pictures).landmarks_px


def _fid_rows(made: GeneratedVideos, weights: QualityWeights) -> list[MetricRecord]:
    if not made.plan.of_task("self"):
        return []
    network = load_fid_inception(weights.fid)
    return [
        fid_inception_row(
            _all_pictures(made, method),
            _all_pictures(made, GROUND_TRUTH),
            network,
            task="self",
            method=method,
        )
        for method in FID_ROWS
    ]


def _all_pictures(made: GeneratedVideos, method: str) -> Iterator[NDArray[np.uint8]]:
    for one in made.plan.of_task("self"):
        yield from made.method_frames(one, method) or ()
