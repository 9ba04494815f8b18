"""PSNR, SSIM and blur of hand-made pictures."""

from collections.abc import Callable, Sequence
from math import log10

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.metrics.metric import Measurement
from evaluation.metrics.pictures.inputs import (
    BATCH_PICTURES,
    PictureReference,
    PictureVideo,
    paired_batches,
    picture_batches,
)
from evaluation.metrics.pictures.psnr_ssim import measure_psnr, measure_ssim
from evaluation.metrics.pictures.sharpness import measure_blur

Picture = NDArray[np.uint8]

SSIM_ROUNDING = 3e-4  # of float32 on flat pictures, see `psnr_ssim`


def flat(value: int, side_px: int = 16) -> Picture:
    return np.full((side_px, side_px, 3), value, np.uint8)


def noise(count: int, side_px: int = 32) -> list[Picture]:
    return list(np.random.default_rng(4).integers(0, 256, (count, side_px, side_px, 3)).astype(np.uint8))


def no_landmarks(_: Sequence[Picture]) -> NDArray[np.float32]:
    raise AssertionError("no metric here needs landmarks")


def video(pictures: list[Picture]) -> PictureVideo:
    return PictureVideo(pictures, no_landmarks)


def compared(generated: list[Picture], truth: list[Picture]) -> tuple[Measurement, Measurement]:
    reference = PictureReference(portrait=video([flat(0)]), truth=video(truth))
    return measure_psnr(video(generated), reference), measure_ssim(video(generated), reference)


def blur_of(pictures: list[Picture]) -> Measurement:
    return measure_blur(video(pictures), PictureReference(portrait=video([flat(0)])))


def test_psnr_averages_errors_and_ssim_averages_pictures() -> None:
    # Errors 5 and 0: mean squared 12.5. Flat pictures a, b have SSIM (2ab + C) / (a² + b² + C), C = 2.55².
    psnr, ssim = compared([flat(100), flat(60)], [flat(105), flat(60)])
    assert psnr.value == pytest.approx(10 * log10(255**2 / 12.5), abs=1e-6)
    first = (2 * 100 * 105 + 2.55**2) / (100**2 + 105**2 + 2.55**2)
    assert ssim.value == pytest.approx((first + 1.0) / 2, abs=SSIM_ROUNDING)


def test_psnr_of_the_truth_itself_is_missing() -> None:
    pictures = noise(2)
    psnr, ssim = compared(pictures, pictures)
    assert psnr.value is None
    assert psnr.missing_because == "equal to the truth, pixel for pixel: PSNR is infinite"
    assert ssim.value == pytest.approx(1.0, abs=SSIM_ROUNDING)


def test_psnr_weighs_pictures_of_all_batches_equally() -> None:
    count = BATCH_PICTURES + 3
    psnr, _ = compared([flat(100)] * (count - 1) + [flat(110)], [flat(100)] * count)
    assert psnr.value == pytest.approx(10 * log10(255**2 / (100 / count)), abs=1e-6)


@pytest.mark.parametrize(
    ("generated", "truth", "message"),
    [
        ([flat(1)] * 2, [flat(1)] * 3, r"\[2, 3, 16, 16\], true ones \[3, 3, 16, 16\]"),
        ([flat(1)] * 16, [flat(1)] * 17, "zip"),
        ([flat(1)], [flat(1, 32)], r"\[1, 3, 16, 16\], true ones \[1, 3, 32, 32\]"),
        ([], [], "no pictures to compare"),
    ],
)
def test_metrics_reject_videos_that_do_not_match(
    generated: list[Picture], truth: list[Picture], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compared(generated, truth)


def test_batches_keep_order_and_require_one_size() -> None:
    pictures = noise(BATCH_PICTURES + 1)
    batches = list(picture_batches(iter(pictures)))
    assert [len(batch) for batch in batches] == [BATCH_PICTURES, 1]
    np.testing.assert_array_equal(batches[1][0].permute(1, 2, 0).numpy(), pictures[-1])
    with pytest.raises(ValueError, match=r"pictures must all be \[16, 16, 3\], got \[8, 8, 3\]"):
        list(picture_batches([flat(1), flat(1, 8)]))
    with pytest.raises(ValueError, match="no pictures to compare"):
        list(paired_batches([], []))


def gaussian(sigma_px: float) -> Callable[[Picture], Picture]:
    return lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), np.uint8)


def blur_value(pictures: list[Picture]) -> float:
    value = blur_of(pictures).value
    assert value is not None
    return value


def test_blur_grows_with_the_blur_of_a_picture() -> None:
    sharp = noise(1, side_px=64)[0]
    values = [blur_value([gaussian(sigma)(sharp)]) for sigma in (0.3, 1.0, 2.0, 4.0)]
    assert values == sorted(values)
    assert values[0] < 0.3
    assert values[-1] > 0.6


def test_blur_averages_pictures_that_are_not_flat() -> None:
    sharp = noise(1, side_px=64)[0]
    blurred = gaussian(2.0)(sharp)
    both = blur_of([sharp, flat(7, 64), blurred])
    assert both.value == pytest.approx((blur_value([sharp]) + blur_value([blurred])) / 2)
    assert blur_of([flat(7)]).missing_because == "every picture is flat"
    with pytest.raises(ValueError, match="need pictures of one size"):
        blur_of([])
