import numpy as np
import pytest
import torch

from training.data.augmentation.pictures import (
    ColourJitter,
    MotionAugmentation,
    WindowAugmentation,
    augment_motion,
    augment_window,
    change_colour,
    perspective_map,
    recolour_alike,
    warp,
)

STILL = ColourJitter(brightness=0.0, contrast=0.0, saturation=0.0, hue_turns=0.0)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def recoloured(pixels: list[list[float]], factors: tuple[float, float, float, float]) -> list[list[float]]:
    """Pixels and result as [n][3] in [0, 1]."""
    image = torch.tensor(pixels).T[None, :, None] * 2 - 1
    changed = change_colour(image, np.array([factors], np.float64))
    return ((changed[0, :, 0].T + 1) / 2).tolist()


def test_neutral_factors_change_nothing() -> None:
    frames = noise(2, 3, 5, 4)
    torch.testing.assert_close(change_colour(frames, np.array([NEUTRAL, NEUTRAL])), frames, atol=1e-6, rtol=0)


def test_brightness_multiplies_and_clamps() -> None:
    (result,) = recoloured([[0.5, 0.25, 0.8]], (1.5, 1, 1, 0))
    assert result == pytest.approx([0.75, 0.375, 1.0], abs=1e-6)


def test_contrast_is_about_the_mean_luma() -> None:
    # grey .2 and .6, brightened by 1.25 to .25 and .75, mean .5, distances halved
    result = recoloured([[0.2] * 3, [0.6] * 3], (1.25, 0.5, 1, 0))
    assert result == [pytest.approx([0.375] * 3, abs=1e-6), pytest.approx([0.625] * 3, abs=1e-6)]


def test_saturation_zero_gives_luma() -> None:
    (result,) = recoloured([[1.0, 0.5, 0.0]], (1, 1, 0, 0))
    assert result == pytest.approx([0.299 + 0.587 / 2] * 3, abs=1e-6)


def test_hue_keeps_luma_and_grey() -> None:
    luma = np.array([0.299, 0.587, 0.114])
    (turned,) = recoloured([[0.5, 0.4, 0.45]], (1, 1, 1, 0.25))
    assert turned != pytest.approx([0.5, 0.4, 0.45], abs=0.02)
    assert np.dot(turned, luma) == pytest.approx(np.dot([0.5, 0.4, 0.45], luma), abs=1e-4)
    assert recoloured([[0.3] * 3], (1, 1, 1, 0.25))[0] == pytest.approx([0.3] * 3, abs=1e-5)
    assert recoloured([[0.5, 0.4, 0.45]], (1, 1, 1, 1.0))[0] == pytest.approx([0.5, 0.4, 0.45], abs=1e-5)


def test_warp_by_a_quarter_turn() -> None:
    frames = noise(1, 3, 6, 6)
    # A place (x, y) of the result shows (y, -x) of the source: the top right shows the top left (y down).
    turn = np.array([[[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]])
    result = warp(frames, turn, "zeros")
    torch.testing.assert_close(result, torch.rot90(frames, 3, (2, 3)), atol=1e-5, rtol=0)


def test_perspective_map_moves_corners() -> None:
    corners = np.array([(-0.9, -0.95), (0.92, -1.0), (1.0, 0.91), (-0.97, 0.93)])
    places = np.column_stack([corners, np.ones(4)]) @ perspective_map(corners).T
    square = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    np.testing.assert_allclose(places[:, :2] / places[:, 2:], square, atol=1e-12)


def test_augment_motion_depends_on_the_seed_only() -> None:
    frames = noise(1, 3, 16, 16).repeat(3, 1, 1, 1)
    changed = augment_motion(frames, (11, 12, 11), MotionAugmentation())
    assert changed.shape == frames.shape
    assert changed.abs().max() <= 1
    assert torch.equal(changed[0], changed[2])
    assert not torch.allclose(changed[0], changed[1], atol=0.05)
    torch.testing.assert_close(augment_motion(frames[:1], (12,), MotionAugmentation())[0], changed[1])


def test_perspective_probability() -> None:
    frames = noise(1, 3, 8, 8).repeat(400, 1, 1, 1)
    settings = MotionAugmentation(colour=STILL, perspective_probability=0.9)
    result = augment_motion(frames, tuple(range(400)), settings)
    unchanged = int(((result - frames).abs().amax(dim=(1, 2, 3)) < 1e-5).sum())
    assert 20 <= unchanged <= 60  # 40 expected, 6 standard deviation


def test_perspective_is_bounded() -> None:
    white = torch.ones(200, 3, 40, 40)
    settings = MotionAugmentation(colour=STILL, perspective=0.1, perspective_probability=1.0, outside="zeros")
    result = augment_motion(white, tuple(range(200)), settings)
    assert (result[:, :, 3:-3, 3:-3] == 1).all()  # 2 px of 40 is a tenth of half a side, and one of smoothing
    assert result.amin() < 0.5


def test_augment_window_draws_per_frame_or_per_window() -> None:
    frames = noise(1, 1, 3, 16, 16).repeat(2, 3, 1, 1, 1)
    apart = augment_window(frames, (5, 6), WindowAugmentation())
    assert apart.shape == frames.shape
    assert apart.abs().max() <= 1
    assert not torch.allclose(apart[0, 0], apart[0, 1], atol=0.05)
    together = augment_window(frames, (5, 6), WindowAugmentation(same_for_whole_window=True))
    assert torch.equal(together[0, 0], together[0, 2])
    assert not torch.allclose(together[0, 0], together[1, 0], atol=0.05)
    torch.testing.assert_close(augment_window(frames[1:], (6,), WindowAugmentation())[0], apart[1])


def test_window_scale_is_bounded() -> None:
    white = torch.ones(100, 1, 3, 40, 40)
    settings = WindowAugmentation(colour=STILL, rotation_degrees=0.0, scale=0.25, outside="zeros")
    result = augment_window(white, tuple(range(100)), settings)[:, 0, 0]
    widths = result[:, 20].sum(dim=1)
    assert widths.min() >= 0.75 * 40 - 1
    assert widths.min() < 0.85 * 40
    assert (widths > 39.5).any()


def test_augmentation_is_differentiable_and_checks_input() -> None:
    frames = noise(1, 3, 8, 8).requires_grad_()
    augment_motion(frames, (0,), MotionAugmentation()).sum().backward()
    assert frames.grad is not None
    assert frames.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="one seed per row, got 2 for 1"):
        augment_motion(frames, (0, 1), MotionAugmentation())
    with pytest.raises(ValueError, match="must be float with 5 dimensions"):
        augment_window(frames, (0,), WindowAugmentation())
    with pytest.raises(ValueError, match=r"hue_turns must be <= 0\.5, got 0\.6"):
        ColourJitter(hue_turns=0.6)


def test_frames_of_a_row_are_recoloured_alike() -> None:
    frames = torch.rand(2, 1, 3, 8, 8).expand(2, 2, 3, 8, 8) * 1.6 - 0.8
    changed = recolour_alike(frames, [1, 2], ColourJitter())
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert (changed - frames).abs().flatten(1).mean(dim=1).min() > 0.05
    assert not torch.equal(changed[0] - frames[0], changed[1] - frames[1])
    still = ColourJitter(brightness=0, contrast=0, saturation=0, hue_turns=0)
    torch.testing.assert_close(recolour_alike(frames, [1, 2], still), frames)
