"""Sharpness without a reference: scikit-image's `blur_effect` of each picture's grey values.

The perceptual blur metric of Crété-Roffet et al. 2007: how much of the differences between neighbouring
pixels remains after another blur by a box of 11 pixels; the blurrier of the two directions counts. CPBD was
not chosen: its values depend on thresholds of an edge detector that the paper leaves open. Noise counts as
sharpness, so read it beside a comparison with the true video.
"""

from typing import Final

import numpy as np
from skimage.measure import blur_effect

from evaluation.metrics.metric import Measurement, Metric
from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo

BOX_PX: Final = 11  # scikit-image's default; values of another box do not compare


def measure_blur(generated: PictureVideo, _: PictureReference) -> Measurement:
    """Mean blur over pictures: 0 sharp, 1 blurred. Missing if every picture is of one flat colour.

    Raises:
        ValueError: there are no pictures, or their sizes differ.
    """
    sizes = {picture.shape for picture in generated.pictures}
    if len(sizes) != 1:
        raise ValueError(f"need pictures of one size, got {sorted(sizes)}")
    values = [
        float(np.asarray(blur_effect(picture, h_size=BOX_PX, channel_axis=-1)))
        for picture in generated.pictures
        if int(np.ptp(picture))  # for a flat picture rounding decides between 1 and a division by zero
    ]
    return Measurement(float(np.mean(values))) if values else Measurement(None, "every picture is flat")


BLUR_EFFECT: Final = Metric(
    "blur_effect_{side_px}px",
    protocol="all frames, at the pictures' size",
    unit="",
    direction="lower",
    measure=measure_blur,
    scorer="skimage",
)
