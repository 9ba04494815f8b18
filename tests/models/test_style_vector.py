import pytest
import torch

from models.style_vector import StyleVector, StyleWidths


def test_official_style_vector_layout() -> None:
    widths = StyleWidths()
    codes = [torch.full((2, width), float(index)) for index, width in enumerate(widths.as_tuple())]
    vector = StyleVector(*codes).to_vector()
    assert vector.shape == (2, 2590)
    boundaries = [0, 2048, 2548, 2578, 2584, 2590]
    for index in range(5):
        assert (vector[:, boundaries[index] : boundaries[index + 1]] == index).all()


def test_from_vector_inverts_to_vector() -> None:
    widths = StyleWidths(appearance=3, lip=2, expression=4, eye=1, pose=5)
    vector = torch.arange(30.0).reshape(2, 15)
    style = StyleVector.from_vector(vector, widths)
    assert style.lip.tolist() == [[3.0, 4.0], [18.0, 19.0]]
    assert style.eye.tolist() == [[9.0], [24.0]]
    assert torch.equal(style.to_vector(), vector)


def test_from_vector_rejects_other_widths() -> None:
    with pytest.raises(ValueError, match=r"\[B, 2590\], got \(2, 2589\)"):
        StyleVector.from_vector(torch.zeros(2, 2589), StyleWidths())


def test_style_vector_rejects_different_batch_sizes() -> None:
    with pytest.raises(ValueError, match="the same B"):
        StyleVector(
            torch.zeros(2, 3), torch.zeros(1, 3), torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3)
        )
