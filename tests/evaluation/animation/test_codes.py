import pytest
import torch

from evaluation.animation.rendering import batches, interpolate, windowed_mean


def rows(*values: float) -> list[torch.Tensor]:
    return [torch.tensor([value]) for value in values]


def test_windowed_mean_shrinks_or_pads_at_both_ends() -> None:
    weights = (1.0, 2.0, 1.0)
    shrunk = [float(row) for row in windowed_mean(rows(4, 8, 16), weights, "shrink")]
    assert shrunk == pytest.approx([16 / 3, 9.0, 40 / 3])
    zeros = [float(row) for row in windowed_mean(rows(4, 8, 16), weights, "zero")]
    assert zeros == [16.0, 36.0, 40.0]


def test_windowed_mean_of_a_short_stream_keeps_its_length() -> None:
    assert [float(row) for row in windowed_mean(rows(4, 8), (1.0,) * 7, "shrink")] == [6.0, 6.0]
    assert not list(windowed_mean([], (1.0,) * 3, "zero"))


def test_windowed_mean_needs_an_odd_window() -> None:
    with pytest.raises(ValueError, match="odd number of weights, got 2"):
        list(windowed_mean(rows(1), (1.0, 1.0), "zero"))


def test_interpolate_applies_a_matrix_to_the_change() -> None:
    swapped_and_doubled = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    (row,) = interpolate([torch.tensor([3.0, 5.0])], torch.tensor([1.0, 1.0]), swapped_and_doubled)
    assert row.tolist() == [5.0, 5.0]


def test_last_batch_may_be_shorter() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
