import pytest
import torch

from training.losses.pictures.feature_matching import feature_matching_loss


def test_feature_matching_values() -> None:
    real = [[torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 2, 2)], [torch.zeros(1, 2, 2, 2)]]
    generated = [[torch.full((1, 2, 4, 4), 3.0), torch.full((1, 4, 2, 2), -2.0)], [torch.ones(1, 2, 2, 2)]]
    assert feature_matching_loss(real, generated).item() == ((3 + 2) + 1) / 2


def test_feature_matching_of_equal_features() -> None:
    features = [[torch.randn(2, 3, 4, 4)], [torch.randn(2, 3, 2, 2)]]
    assert feature_matching_loss(features, features).item() == 0


def test_feature_matching_gradient_reaches_generated_only() -> None:
    real = torch.zeros(1, 1, 2, 2, requires_grad=True)
    generated = torch.ones(1, 1, 2, 2, requires_grad=True)
    feature_matching_loss([[real], [real]], [[generated], [generated]]).backward()
    assert real.grad is None
    torch.testing.assert_close(generated.grad, torch.full((1, 1, 2, 2), 0.25))


def test_feature_matching_of_float16() -> None:
    large = torch.full((1, 1, 2, 2), 60_000.0, dtype=torch.float16)
    assert feature_matching_loss([[large]], [[-large]]).item() == 2 * float(large[0, 0, 0, 0])


def test_feature_matching_checks_scales_and_layers() -> None:
    layer = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match=r"\[2, 1\] and \[1, 2\]"):
        feature_matching_loss([[layer, layer], [layer]], [[layer], [layer, layer]])
    with pytest.raises(ValueError, match=r"\[\] and \[\]"):
        feature_matching_loss([], [])
    with pytest.raises(ValueError, match=r"\[0\] and \[0\]"):
        feature_matching_loss([[]], [[]])
    with pytest.raises(ValueError, match="same shape"):
        feature_matching_loss([[layer]], [[layer[..., :1]]])
