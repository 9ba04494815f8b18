import pytest
import torch

from training.losses.window import in_window_mean


def test_a_window_is_the_mean_of_its_frames_and_no_others() -> None:
    features = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[-1.0, 0.0], [1.0, 1.0]]])
    assert torch.equal(in_window_mean(features), torch.tensor([[2.0, 4.0], [0.0, 0.5]]))


def test_one_frame_is_its_own_mean() -> None:
    features = torch.randn(3, 1, 4)
    assert torch.equal(in_window_mean(features), features[:, 0])


def test_every_frame_gets_its_share_of_the_gradient() -> None:
    features = torch.randn(2, 4, 3, requires_grad=True)
    in_window_mean(features).sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, torch.full((2, 4, 3), 0.25))


def test_half_precision_is_averaged_in_float32() -> None:
    features = torch.full((1, 5, 2), 60_000.0, dtype=torch.float16)
    mean = in_window_mean(features)
    assert mean.dtype == torch.float32
    assert torch.equal(mean, features[:, 0].float())


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[2, 0, 3\]"):
        in_window_mean(torch.zeros(2, 0, 3))
