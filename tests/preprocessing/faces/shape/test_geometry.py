"""Similarities and boxes with values worked out by hand."""

import numpy as np
import pytest

from preprocessing.faces.shape.geometry import fit_similarity, intersection_over_union


def test_fit_similarity_recovers_an_exact_similarity() -> None:
    source = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    fit = fit_similarity(source, source @ np.array([[0.0, 3.0], [-3.0, 0.0]]) + [5.0, 7.0])
    np.testing.assert_allclose(fit.matrix, [[0.0, -3.0, 5.0], [3.0, 0.0, 7.0]], atol=1e-12)
    np.testing.assert_allclose(fit.apply(source), [[5.0, 7.0], [5.0, 13.0], [-1.0, 7.0]], atol=1e-12)


def test_fit_similarity_does_not_reflect() -> None:
    source = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    mirrored = fit_similarity(source, source * [-1.0, 1.0])
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1.0)
    assert mirrored.scale >= 0.0


def test_fit_similarity_works_in_three_dimensions() -> None:
    source = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    fit = fit_similarity(source, 2.0 * source @ turn.T + [1.0, 2.0, 3.0])
    np.testing.assert_allclose(fit.rotation, turn, atol=1e-12)
    assert fit.scale == pytest.approx(2.0)
    np.testing.assert_allclose(fit.shift, [1.0, 2.0, 3.0], atol=1e-12)


def test_fit_similarity_refuses_coinciding_points() -> None:
    with pytest.raises(ValueError, match="all source points coincide"):
        fit_similarity(np.ones((4, 2)), np.zeros((4, 2)))


@pytest.mark.parametrize(
    ("box", "overlap"),
    [
        ([0, 0, 2, 2], 1.0),
        ([1, 0, 3, 2], 2 / 6),
        ([1, 1, 2, 2], 1 / 4),
        ([2, 0, 4, 2], 0.0),  # they touch
        ([5, 5, 6, 6], 0.0),
    ],
)
def test_intersection_over_union(box: list[float], overlap: float) -> None:
    value = intersection_over_union(np.array([0.0, 0.0, 2.0, 2.0]), np.array(box, np.float64))
    assert value == pytest.approx(overlap)


def test_intersection_over_union_of_empty_boxes() -> None:
    assert intersection_over_union(np.ones(4), np.ones(4)) == 0.0
