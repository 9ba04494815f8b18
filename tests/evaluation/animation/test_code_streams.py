import pytest
import torch

from evaluation.animation.rendering import batches, interpolate, windowed_mean


def rows(*values: float) -> list[torch.Tensor]:
    return [torch.tensor([value]) for value in values]


def test_a_window_shrinks_or_sees_zeros_at_both_ends() -> None:
    weights = (1.0, 2.0, 1.0)
    shrunk = [float(row) for row in windowed_mean(rows(4, 8, 16), weights, "shrink")]
    assert shrunk == pytest.approx([16 / 3, 9.0, 40 / 3])
    zeros = [float(row) for row in windowed_mean(rows(4, 8, 16), weights, "zero")]
    assert zeros == [16.0, 36.0, 40.0]


def test_a_stream_shorter_than_the_window_comes_out_whole() -> None:
    assert [float(row) for row in windowed_mean(rows(4, 8), (1.0,) * 7, "shrink")] == [6.0, 6.0]
    assert not list(windowed_mean([], (1.0,) * 3, "zero"))


def test_a_window_has_a_middle() -> None:
    with pytest.raises(ValueError, match="odd number of weights, got 2"):
        list(windowed_mean(rows(1), (1.0, 1.0), "zero"))


def test_a_map_is_of_the_change_from_neutral_as_a_row() -> None:
    swapped_and_doubled = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    (row,) = interpolate([torch.tensor([3.0, 5.0])], torch.tensor([1.0, 1.0]), swapped_and_doubled)
    assert row.tolist() == [5.0, 5.0]


def test_the_last_batch_holds_what_is_left() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
