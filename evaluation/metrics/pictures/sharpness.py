"""Sharpness without a reference: scikit-image's `blur_effect`, of each picture's grey values.

It is the perceptual blur metric of Crété-Roffet et al. 2007: how much of the neighbouring differences is
left when the picture is blurred once more by a box of 11 pixels; of the two directions the blurrier one
counts. Not CPBD: that one's figures hang on an edge detector's thresholds which its formula leaves open, so
they could not be held against published ones. Noise counts as sharpness: read it beside a comparison
with the truth.
"""

from typing import Final

import numpy as np
from skimage.measure import blur_effect

from evaluation.metrics.pictures.batches import Pictures
from evaluation.records import MetricRecord

SCORER: Final = "skimage"
BOX_PX: Final = 11  # scikit-image's own; figures of another box do not compare


def blur_effect_row(pictures: Pictures, *, task: str, method: str, video: str) -> MetricRecord:
    """`blur_effect_<S>px` of one video, the mean over its pictures: 0 sharp, 1 blurred; lower is better.

    Args:
        pictures: Each uint8 [S, S, 3] RGB, 0 to 255, of one S; it stands in the name, since the box's size is
            fixed.
        task: For the row.
        method: For the row.
        video: For the row.

    Returns:
        Missing where every picture is of one flat colour.

    Raises:
        ValueError: there are no pictures, or their sizes differ.
    """
    values: list[float] = []
    sides: set[tuple[int, ...]] = set()
    for picture in pictures:
        sides.add(picture.shape)
        if int(np.ptp(picture)):  # of a flat picture it is 1 or a division by zero, as rounding has it
            values.append(float(np.asarray(blur_effect(picture, h_size=BOX_PX, channel_axis=-1))))
    if len(sides) != 1:
        raise ValueError(f"{video}: need pictures of one size, got {sorted(sides)}")
    name = f"blur_effect_{next(iter(sides))[0]}px"
    if not values:
        return MetricRecord(name, task, method, SCORER, video, None, "", "lower", "every picture is flat")
    return MetricRecord(name, task, method, SCORER, video, float(np.mean(values)), "", "lower")
