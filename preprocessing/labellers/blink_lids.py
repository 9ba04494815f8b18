"""Blink from landmarks: the gap between the lids over the eye's width, normalised per person.

How wide an open eye stands differs from person to person, so a person's own frames say what open
means: `measure_openness` of every clip, `person_openness_levels` over all of them, and then
`label_blink` clip by clip.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.landmark_groups import (
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
_MIDDLE: Final = slice(1, 6)  # the five middle ones of a lid's seven points


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
    """Lid gap over eye width.

    Args:
        landmarks_px: [T, 478, 3] landmarks in pixels, z on the scale of x.

    Returns:
        [T, 2] float32 image-left eye, image-right eye: mean distance of the five middle pairs of
        lid points over the distance of the eye's corners, both in 3-D so that a turned or nodding
        head counts alike. Open eyes give about 0.25 to 0.4.

    Raises:
        ValueError: The landmarks are not [T, 478, 3].
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
    """Levels of one person from all of their clips.

    Args:
        openness: One [T, 2] of `measure_openness` per clip.
        settings: Percentile and share; the defaults where None.

    Returns:
        For either eye, open: the percentile over all frames; shut: a fixed share of it, for most
        clips hold no full blink that could be measured.

    Raises:
        ValueError: There is no frame.
    """
    settings = settings or BlinkSettings()
    if not sum(map(len, openness)):
        raise ValueError(f"{len(openness)} clips hold no frame: no openness levels")
    pooled = np.concatenate(openness).astype(np.float64)
    open_level = np.percentile(pooled, settings.open_percentile, axis=0)
    return OpennessLevels(open_level, settings.shut_share * open_level)


def label_blink(landmarks_px: NDArray[np.float32], levels: OpennessLevels) -> NDArray[np.float32]:
    """Label how far either eye is shut.

    Args:
        landmarks_px: [T, 478, 3] landmarks in pixels.
        levels: The person's, from `person_openness_levels`.

    Returns:
        [T, 2] float32 image-left eye, image-right eye; 0 open to 1 shut.

    Raises:
        ValueError: The landmarks are not [T, 478, 3].
    """
    closed = (levels.open - measure_openness(landmarks_px)) / (levels.open - levels.shut)
    return np.clip(closed, 0.0, 1.0).astype(np.float32)
