import pytest
import torch

from training.data.frames import to_network_input


def test_network_input_range() -> None:
    frames = torch.tensor([0, 255], dtype=torch.uint8).expand(3, 2, 2)
    assert torch.equal(to_network_input(frames, 2), torch.tensor([-1.0, 1.0]).expand(3, 2, 2))


def test_network_input_is_resized_with_antialiasing() -> None:
    frames = torch.zeros(2, 5, 3, 8, 8, dtype=torch.uint8)
    frames[1, 3, :, :, ::2] = 255  # stripes of one pixel become their mean
    small = to_network_input(frames, 2, torch.bfloat16)
    assert small.shape == (2, 5, 3, 2, 2)
    assert small.dtype == torch.bfloat16
    assert small[1, 3].float().abs().max() < 0.2
    small[1, 3] = -1
    assert (small == -1).all()


def test_network_input_rejects_other_frames() -> None:
    with pytest.raises(ValueError, match=r"got torch\.float32\[3, 2, 2\]"):
        to_network_input(torch.zeros(3, 2, 2), 2)
    with pytest.raises(ValueError, match=r"must be uint8\[\.\.\., 3, H, W\]"):
        to_network_input(torch.zeros(2, 2, 3, dtype=torch.uint8), 2)
