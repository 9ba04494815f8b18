import pytest
import torch

from training.data.augmentation.sound import SoundAugmentation, augment_sound

ROWS = 6
STILL = SoundAugmentation(
    probability=1.0,
    gain_decibels=0,
    tilt_decibels=0,
    ripple_decibels=0,
    shift_bands=0,
    noise_level=(0.0, 0.0),
    low_pass_probability=0,
)


def windows() -> torch.Tensor:
    """Levels that rise with the band and vary in time, well above silence."""
    bands = torch.linspace(0.5, 0.7, 80)[:, None] + 0.05 * torch.sin(torch.arange(20.0))
    return bands.expand(ROWS, 1, 80, 20).clone()


def test_windows_are_changed_by_their_own_seed() -> None:
    mels, seeds = windows(), list(range(ROWS))
    always = SoundAugmentation(probability=1.0)
    changed = augment_sound(mels, seeds, always)
    assert changed.shape == mels.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert (changed - mels).abs().flatten(1).amax(dim=1).min() > 0.01
    torch.testing.assert_close(augment_sound(mels[2:3], [2], always), changed[2:3])
    torch.testing.assert_close(augment_sound(mels, seeds, SoundAugmentation(probability=0)), mels)


def test_level_changes_by_the_given_decibels() -> None:
    mels = windows()
    change = augment_sound(mels, range(ROWS), STILL.replace(gain_decibels=6.0)) - mels
    per_window = change.flatten(1).mean(dim=1)
    assert per_window.abs().max() <= 0.0601
    assert per_window.std() > 0.01
    assert (change.flatten(1) - per_window[:, None]).abs().max() < 1e-4


def test_bands_shift() -> None:
    mels = torch.zeros(1, 1, 80, 20)
    mels[0, 0, 40] = 0.8
    places = {
        augment_sound(mels, [seed], STILL.replace(shift_bands=5.0))[0, 0, :, 0].argmax().item()
        for seed in range(30)
    }
    assert min(places) in (35, 36)
    assert max(places) in (44, 45)


def test_noise_fills_silence_and_leaves_what_is_louder() -> None:
    mels = torch.zeros(1, 1, 80, 20)
    mels[..., 10:] = 0.9
    noisy = augment_sound(mels, [0], STILL.replace(noise_level=(0.4, 0.4)))
    torch.testing.assert_close(noisy[..., :10], torch.full((1, 1, 80, 10), 0.4))
    torch.testing.assert_close(noisy[..., 10:], mels[..., 10:], rtol=0, atol=1e-3)


def test_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"need mels \[B, 1, 80, T\] and B seeds"):
        augment_sound(torch.zeros(2, 80, 20), [0, 1], STILL)
