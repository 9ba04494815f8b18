import math

import pytest
import torch

from training.losses.distances import cosine_similarity, full_precision, mean_absolute_difference


def test_cosine_similarity_values() -> None:
    a = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [3.0, 4.0]])
    b = torch.tensor([[5.0, 0.0], [0.0, 7.0], [-9.0, 0.0], [400.0, 300.0]])
    torch.testing.assert_close(cosine_similarity(a, b), torch.tensor([1.0, 0.0, -1.0, 24 / 25]))


def test_cosine_similarity_broadcasts() -> None:
    query = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    negatives = torch.tensor([[[1.0, 1.0], [-1.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]])
    expected = torch.tensor([[math.sqrt(0.5), -1.0], [math.sqrt(0.5), 0.0]])
    torch.testing.assert_close(cosine_similarity(query, negatives), expected)


def test_cosine_similarity_of_zeros() -> None:
    zeros = torch.zeros(1, 3, requires_grad=True)
    similarity = cosine_similarity(zeros, torch.tensor([[0.0, 5.0, 0.0]]))
    similarity.sum().backward()
    assert similarity.item() == 0
    assert zeros.grad is not None
    torch.testing.assert_close(zeros.grad, torch.tensor([[0.0, 1e4, 0.0]]))
    assert cosine_similarity(zeros, zeros).item() == 0


def test_distances_of_half_precision() -> None:
    large = torch.full((1, 4), 60_000.0, dtype=torch.float16)
    similarity = cosine_similarity(large, large)
    assert similarity.dtype == torch.float32
    torch.testing.assert_close(similarity, torch.ones(1))
    difference = mean_absolute_difference(large, -large)
    assert difference.item() == 2 * float(large[0, 0])  # beyond float16's largest number


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_full_precision_is_float32_at_least(given: torch.dtype, expected: torch.dtype) -> None:
    assert full_precision(torch.ones(2, dtype=given)).dtype == expected


def test_mean_absolute_difference_values() -> None:
    a = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert mean_absolute_difference(a, torch.tensor([[1.0, 0.0, 6.0], [4.0, 6.0, 6.0]])).item() == 1.0


def test_mean_absolute_difference_rejects_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\[2, 3\] and \[1, 3\]"):
        mean_absolute_difference(torch.zeros(2, 3), torch.zeros(1, 3))
