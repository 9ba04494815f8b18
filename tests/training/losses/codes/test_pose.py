import pytest
import torch

from training.losses.codes.pose import PoseScale, pose_in_rad_cm, pose_in_units, pose_loss

SCALE = PoseScale(angle_rad=0.5, translation_cm=4.0)


def test_pose_loss_values() -> None:
    label = torch.tensor([[0.5, -1.0, 0.0, 4.0, 0.0, -8.0]])  # in units 1, -2, 0, 1, 0, -2
    code = torch.tensor([[1.0, -1.0, 0.0, 1.0, 2.0, -2.0]])  # off by 0, 1, 0, 0, 2, 0
    assert pose_loss(code, label, SCALE).item() == 3 / 6


def test_pose_loss_balances_angles_and_translation() -> None:
    code = torch.zeros(1, 6)
    of_angles = pose_loss(code, torch.tensor([[0.5, 0.5, 0.5, 0.0, 0.0, 0.0]]), SCALE)
    of_translation = pose_loss(code, torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0, 4.0]]), SCALE)
    assert of_angles.item() == of_translation.item() == 0.5


def test_pose_scale_defaults() -> None:
    label = torch.tensor([[0.1, 0.2, 0.3, 1.0, 2.0, 3.0]])
    torch.testing.assert_close(
        pose_in_units(label, PoseScale()), torch.tensor([[0.1, 0.2, 0.3, 0.1, 0.2, 0.3]])
    )


def test_pose_in_rad_cm_inverts_pose_in_units() -> None:
    label = torch.tensor([[0.5, -1.0, 0.25, 4.0, 3.0, -8.0]])
    torch.testing.assert_close(pose_in_rad_cm(pose_in_units(label, SCALE), SCALE), label)
    assert pose_loss(pose_in_units(label, SCALE), label, SCALE).item() == 0


def test_pose_loss_gradient_reaches_the_code_only() -> None:
    code = torch.zeros(1, 6, requires_grad=True)
    label = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0, 0.0]], requires_grad=True)
    pose_loss(code, label, SCALE).backward()
    assert label.grad is None
    sixth = 1 / 6
    torch.testing.assert_close(code.grad, torch.tensor([[-sixth, sixth, -sixth, sixth, -sixth, 0.0]]))


def test_pose_loss_is_float32() -> None:
    code = torch.full((1, 6), 0.1, dtype=torch.bfloat16)
    label = pose_in_rad_cm(torch.full((1, 6), 0.1), SCALE)
    rounding = abs(float(code[0, 0]) - 0.1)
    assert pose_loss(code, label, SCALE).item() == pytest.approx(rounding, rel=1e-3)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.0, -1.0)])
def test_pose_scale_must_be_positive(scale: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        PoseScale(angle_rad=scale[0], translation_cm=scale[1])
