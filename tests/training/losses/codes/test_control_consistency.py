import pytest
import torch
from torch import Tensor

from training.losses.codes.control_consistency import (
    SCALES,
    CodesRead,
    code_consistency_loss,
    control_consistency_loss,
)

WIDTHS = {"pose": 3, "mouth": 1, "gaze": 4, "lids": 2}


def readings(seed: int, rows: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(rows, width, generator=generator) for name, width in WIDTHS.items()}


@pytest.mark.parametrize("changed", SCALES)
def test_each_reading_counts_in_its_scale(changed: str) -> None:
    drivers = readings(1)
    generated = drivers | {changed: drivers[changed] + SCALES[changed]}
    torch.testing.assert_close(control_consistency_loss(generated, drivers), torch.tensor(1.0))
    torch.testing.assert_close(control_consistency_loss(drivers, drivers), torch.tensor(0.0))


def test_only_generated_readings_get_gradients() -> None:
    generated, drivers = (
        {name: value.requires_grad_() for name, value in readings(seed).items()} for seed in (1, 2)
    )
    control_consistency_loss(generated, drivers).backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in generated.values())
    assert all(value.grad is None for value in drivers.values())


def test_missing_readings_are_rejected() -> None:
    complete = readings(1)
    partial = {name: value for name, value in complete.items() if name != "gaze"}
    with pytest.raises(ValueError, match="drivers needs readings pose, mouth, gaze, lids, got pose"):
        control_consistency_loss(complete, partial)


def test_code_consistency_of_turned_and_scaled_codes() -> None:
    codes = CodesRead(torch.zeros(1, 6), torch.eye(6)[:1], torch.eye(8)[:1])
    # Lengths of eye codes and lip features do not count, those of the pose do.
    longer = CodesRead(torch.full((1, 6), 0.5), 3 * codes.eye, 3 * codes.lip)
    torch.testing.assert_close(code_consistency_loss(longer, codes), torch.tensor(0.5))
    orthogonal = CodesRead(codes.pose, codes.eye.roll(1, dims=1), codes.lip.roll(1, dims=1))
    torch.testing.assert_close(code_consistency_loss(orthogonal, codes), torch.tensor(2.0))
