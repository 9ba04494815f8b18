"""Eye axes fitted to codes of known labels."""

import pytest
import torch
from torch import Tensor

from training.stages.codes.eye_axes import BLINK, GAZE, RIDGE, EyeAxes

AXES = torch.tensor(
    [
        [2.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 0.0, 3.0, 0.0, 0.0, 0.0],  # a left blink moves the gaze's first dimension, too
        [0.0, 0.0, 0.0, 0.5, 0.0, 0.0],
    ]
)


def labels(frames: int, seed: int = 0) -> Tensor:
    """Uncorrelated, mean 0 and deviation 1 to the last digits, so that axes can be computed by hand."""
    drawn = torch.randn(frames, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    orthogonal = torch.linalg.qr(drawn - drawn.mean(dim=0)).Q
    return (orthogonal * frames**0.5).float()


def fitted(codes: Tensor, label: Tensor) -> EyeAxes:
    axes = EyeAxes()
    axes.fit(codes, label)
    return axes


def test_fit_recovers_axes_and_units() -> None:
    label = labels(100)
    axes = fitted(5.0 + label @ AXES, label * torch.tensor([0.1, 0.2, 0.3, 0.4]) + 0.25)
    torch.testing.assert_close(axes.axes, AXES / (1 + RIDGE), atol=1e-5, rtol=0)
    torch.testing.assert_close(axes.code_mean, torch.full((6,), 5.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(axes.label_mean, torch.full((4,), 0.25), atol=1e-6, rtol=0)
    torch.testing.assert_close(axes.label_deviation, torch.tensor([0.1, 0.2, 0.3, 0.4]))
    assert int(axes.frames) == 100


def test_parts_without_noise_are_the_pseudo_inverse() -> None:
    gaze, blink = fitted(labels(100) @ AXES, labels(100)).parts()
    expected = torch.zeros(2, 6, 6)
    expected[0, 0, 0] = expected[0, 1, 1] = 1.0
    expected[0, 2, 0] = -1 / 3  # dimension 2 carries a blink, whose share in dimension 0 is not gaze
    expected[1, 2, 2] = expected[1, 3, 3] = 1.0
    expected[1, 2, 0] = 1 / 3
    # The ridge counts a hundredth of the code as noise.
    torch.testing.assert_close(gaze, expected[0], atol=0.01, rtol=0)
    torch.testing.assert_close(blink, expected[1], atol=0.01, rtol=0)


@pytest.mark.parametrize("part", [GAZE, BLINK], ids=["gaze", "blink"])
def test_parts_separate_gaze_and_blinks(part: slice) -> None:
    gaze, blink = fitted(labels(100) @ AXES, labels(100)).parts()
    own, other = (gaze, blink) if part == GAZE else (blink, gaze)
    change = labels(5, seed=1)[:, part] @ AXES[part]
    torch.testing.assert_close(change @ own, change, atol=0.05, rtol=0.01)
    torch.testing.assert_close(change @ other, torch.zeros(5, 6), atol=0.05, rtol=0)


def test_parts_do_not_amplify_weak_directions() -> None:
    """Gaze and blinks change the same dimension; another separates them only by a change within noise."""
    label = labels(400)
    codes = torch.zeros(400, 6)
    codes[:, 0] = label[:, 0] + label[:, 2]
    codes[:, 1] = 0.01 * (label[:, 0] - label[:, 2])
    codes += 0.1 * torch.randn(400, 6, generator=torch.Generator().manual_seed(1))
    axes = fitted(codes, label)
    size = torch.linalg.matrix_norm(codes)
    back = torch.linalg.pinv(axes.axes)
    assert torch.linalg.matrix_norm(codes @ back[:, GAZE] @ axes.axes[GAZE]) > 2 * size
    gaze, blink = axes.parts()
    torch.testing.assert_close(gaze[0, 0], torch.tensor(0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(blink[0, 0], torch.tensor(0.5), atol=0.02, rtol=0)
    for part in (gaze, blink):
        assert torch.linalg.matrix_norm(codes @ part) < 0.6 * size


def test_shares_are_explained_variance() -> None:
    label = labels(100)
    noise = labels(100, seed=3)
    noise -= label @ (label.T @ noise) / 100  # uncorrelated with the labels
    noise /= noise.std(dim=0, correction=0)
    codes = torch.zeros(100, 6)
    codes[:, 0], codes[:, 1], codes[:, 2] = 2 * label[:, 1], label[:, 3], noise[:, 0]
    shares = fitted(codes, label).shares(codes, label)
    assert (shares.gaze, shares.blink, shares.rest) == pytest.approx((4 / 6, 1 / 6, 1 / 6), abs=1e-3)


def test_constant_codes_have_no_parts() -> None:
    still = fitted(torch.ones(20, 6), torch.ones(20, 4))
    for part in still.parts():
        assert not part.any()
    assert still.shares(torch.ones(20, 6), torch.ones(20, 4)).rest == 1.0


def test_eye_axes_check_their_input() -> None:
    with pytest.raises(
        ValueError, match=r"need codes \[N, 6\] and labels \[N, 4\], got \[5, 6\] and \[5, 3\]"
    ):
        EyeAxes().fit(torch.zeros(5, 6), torch.zeros(5, 3))
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        EyeAxes().fit(torch.zeros(1, 6), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="were never fitted"):
        EyeAxes().parts()
