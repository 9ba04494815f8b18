"""Rows of quality: every self and cross video in all its rows, a video's pictures held at a time."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.figures import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, FigureRow
from evaluation.generation.files import GeneratedVideos
from evaluation.generation.reenactment import Reenactment
from evaluation.metrics.pictures.csim_insightface import ArcFace, csim_insightface_row, load_arcface
from evaluation.metrics.pictures.fid_inception import fid_inception_row, load_fid_inception
from evaluation.metrics.pictures.lpips_alex import LpipsAlex, load_lpips_alex, lpips_alex_row
from evaluation.metrics.pictures.psnr_ssim import psnr_ssim_rows
from evaluation.metrics.pictures.sharpness import blur_effect_row
from evaluation.readings.face import FaceReader
from evaluation.suites.quality import QualityWeights

ROWS: Final = (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)
FID_ROWS: Final = (MODEL, COPY_PORTRAIT)
"""Against the truth's own pictures, so the truth itself and the copied target, which is it, have 0."""


@dataclass(frozen=True)
class _Networks:
    """What was loaded."""

    lpips: LpipsAlex | None
    arcface: ArcFace | None
    reader: FaceReader | None  # landmarks are wanted by ArcFace alone


def quality_rows(made: GeneratedVideos, weights: QualityWeights) -> list[FigureRow]:
    """Figures of all self and cross videos.

    Raises:
        ValueError: weights are not what they should be.
    """
    rows: list[FigureRow] = []
    with ExitStack() as stack:
        arcface = load_arcface(weights.csim)
        reader = None if arcface is None else stack.enter_context(FaceReader())
        networks = _Networks(load_lpips_alex(weights.lpips), arcface, reader)
        for one in (*made.protocol.of_kind("self"), *made.protocol.of_kind("cross")):
            rows += _video_rows(made, one, networks)
    return rows + _fid_rows(made, weights)


def _video_rows(made: GeneratedVideos, one: Reenactment, networks: _Networks) -> list[FigureRow]:
    portrait = made.portrait(one.name)
    shown = {row: list(frames) for row in ROWS if (frames := made.row_frames(one, row)) is not None}
    landmarks = {row: _landmarks(pictures, networks.reader) for row, pictures in shown.items()}
    of_portrait = (portrait, _landmarks([portrait], networks.reader)[0])
    rows: list[FigureRow] = []
    for row, pictures in shown.items():
        if row == COPY_TARGET and GROUND_TRUTH in shown:  # which it is: measured once
            rows += [replace(same, row=COPY_TARGET) for same in rows if same.row == GROUND_TRUTH]
            continue
        if GROUND_TRUTH in shown:
            truth = shown[GROUND_TRUTH]
            rows += psnr_ssim_rows(pictures, truth, protocol=one.protocol, row=row, video=one.name)
            rows.append(
                lpips_alex_row(
                    pictures, truth, networks.lpips, protocol=one.protocol, row=row, video=one.name
                )
            )
        rows.append(blur_effect_row(pictures, protocol=one.protocol, row=row, video=one.name))
        rows.append(
            csim_insightface_row(
                pictures,
                landmarks[row],
                of_portrait,
                networks.arcface,
                protocol=one.protocol,
                row=row,
                video=one.name,
            )
        )
    return rows


def _landmarks(pictures: list[NDArray[np.uint8]], reader: FaceReader | None) -> NDArray[np.float32]:
    """[T, 478, 3]; NaN where nobody asks for them."""
    if reader is None:
        return np.full((len(pictures), 1, 3), np.nan, np.float32)
    return reader.read(pictures).landmarks_px


def _fid_rows(made: GeneratedVideos, weights: QualityWeights) -> list[FigureRow]:
    if not made.protocol.of_kind("self"):
        return []
    network = load_fid_inception(weights.fid)
    return [
        fid_inception_row(
            _all_pictures(made, row), _all_pictures(made, GROUND_TRUTH), network, protocol="self", row=row
        )
        for row in FID_ROWS
    ]


def _all_pictures(made: GeneratedVideos, row: str) -> Iterator[NDArray[np.uint8]]:
    for one in made.protocol.of_kind("self"):
        yield from made.row_frames(one, row) or ()
