"""Blink from landmarks: the gap between the lids over the eye's width, normalised per person.

People's open eyes differ, so the level of an open eye comes from a person's own frames: `measure_openness` of
every clip, `person_openness_levels` over all clips of a person, then `label_blink` clip by clip.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_LEFT_LOWER_LID,
    IMAGE_LEFT_UPPER_LID,
    IMAGE_RIGHT_EYE_CORNERS,
    IMAGE_RIGHT_LOWER_LID,
    IMAGE_RIGHT_UPPER_LID,
)
from preprocessing.schema import LANDMARK_COUNT
from storage.settings import Settings

NAME: Final = "lid_gap"
VERSION: Final = "2"

_EYES: Final = (
    (IMAGE_LEFT_UPPER_LID, IMAGE_LEFT_LOWER_LID, IMAGE_LEFT_EYE_CORNERS),
    (IMAGE_RIGHT_UPPER_LID, IMAGE_RIGHT_LOWER_LID, IMAGE_RIGHT_EYE_CORNERS),
)
_MIDDLE: Final = slice(1, 6)  # the middle five of a lid's seven points


class BlinkSettings(Settings):
    """What counts as open and as shut."""

    # Both chosen on the demo corpus (mean error 0.07, correlation .95), where blinks are known; on
    # real videos shut eyes keep 0.05 to 0.3 of the open level.
    open_percentile: float = Field(
        default=75.0,
        ge=50.0,
        le=100.0,
        description="Percentile of an identity's eye opening that counts as open",
    )
    shut_share: float = Field(
        default=0.2,
        ge=0.0,
        le=0.9,
        description="Share of the open level that counts as shut: the mesh keeps shut lids this far apart",
    )


class OpennessLevels(NamedTuple):
    """A person's openness when open and when shut."""

    open: NDArray[np.float64]  # [2] image-left eye, image-right eye
    shut: NDArray[np.float64]  # [2]


def measure_openness(landmarks_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """Measure the lid gap over the eye's width.

    Args:
        landmarks_px: [T, 478, 3] landmarks in pixels, z on the scale of x.

    Returns:
        [T, 2] float32 image-left eye, image-right eye: mean distance of the five middle pairs of lid points
        over the distance of the eye's corners, both in 3-D, which makes it independent of head turns. Open
        eyes give about 0.25 to 0.4.

    Raises:
        ValueError: the landmarks are not [T, 478, 3].
    """
    if landmarks_px.ndim != 3 or landmarks_px.shape[1:] != (LANDMARK_COUNT, 3):
        raise ValueError(f"landmarks are {list(landmarks_px.shape)}, need [T, {LANDMARK_COUNT}, 3]")
    points = landmarks_px.astype(np.float64)
    ratios = []
    for upper, lower, (outer, inner) in _EYES:
        gaps = np.linalg.norm(points[:, upper[_MIDDLE]] - points[:, lower[_MIDDLE]], axis=-1)
        ratios.append(gaps.mean(axis=-1) / np.linalg.norm(points[:, outer] - points[:, inner], axis=-1))
    return np.stack(ratios, axis=-1).astype(np.float32)


def person_openness_levels(
    openness: Sequence[NDArray[np.float32]], settings: BlinkSettings | None = None
) -> OpennessLevels:
    """Estimate a person's levels from all of their clips.

    Args:
        openness: [T, 2] of `measure_openness` for each clip.
        settings: percentile and share; the defaults if None.

    Returns:
        Open: the percentile over all frames. Shut: a fixed share of it, because most clips contain no full
        blink to measure.

    Raises:
        ValueError: there is no frame.
    """
    settings = settings or BlinkSettings()
    if not sum(map(len, openness)):
        raise ValueError(f"{len(openness)} clips without a frame, need at least one frame")
    pooled = np.concatenate(openness).astype(np.float64)
    open_level = np.percentile(pooled, settings.open_percentile, axis=0)
    return OpennessLevels(open_level, settings.shut_share * open_level)


def label_blink(landmarks_px: NDArray[np.float32], levels: OpennessLevels) -> NDArray[np.float32]:
    """Label how far either eye is shut.

    Args:
        landmarks_px: [T, 478, 3] landmarks in pixels.
        levels: the person's, from `person_openness_levels`.

    Returns:
        [T, 2] float32 image-left eye, image-right eye; 0 open to 1 shut.

    Raises:
        ValueError: the landmarks are not [T, 478, 3].
    """
    return blink_from_openness(measure_openness(landmarks_px), levels)


def blink_from_openness(openness: NDArray[np.float32], levels: OpennessLevels) -> NDArray[np.float32]:
    """Convert openness [T, 2] to blink [T, 2], 0 open to 1 shut."""
    closed = (levels.open - openness) / (levels.open - levels.shut)
    return np.clip(closed, 0.0, 1.0).astype(np.float32)
