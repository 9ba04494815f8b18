import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from preprocessing.faces.shape.frame_of_reference import rotation_from_angles
from preprocessing.faces.shape.mean_face import load_mean_face
from tests.factories.training.stages import row_facts
from training.data.augmentation.mirroring import mirror, mirror_half
from training.data.batches import LabelledFrames

SIDE_PX = 224


def projected(
    pose: NDArray[np.float64], gaze: tuple[float, float], blink: tuple[float, float]
) -> LabelledFrames:
    """A frame that shows only the projected landmarks of the mean face, one row."""
    vertices = load_mean_face().vertices_cm @ rotation_from_angles(pose[:3]).T + pose[3:]
    depth = 1015 / (100 - vertices[:, 2:])
    points = vertices[:, :2] * depth * [1, -1] + (SIDE_PX - 1) / 2
    landmarks = np.concatenate([points, -vertices[:, 2:]], axis=1)
    frame = torch.zeros(3, SIDE_PX, SIDE_PX, dtype=torch.uint8)
    columns, rows = np.round(points).astype(int).clip(0, SIDE_PX - 1).T
    frame[:, rows, columns] = 255
    labels = [torch.tensor(np.asarray(values, np.float32))[None] for values in (pose, gaze, blink, landmarks)]
    return LabelledFrames(row_facts(1), frame[None], *labels)


def test_mirrored_labels_describe_the_mirrored_picture() -> None:
    mirrored = mirror(projected(np.array([0.2, 0.3, -0.1, 1.0, 0.5, 2.0]), (0.1, 0.2), (0.0, 1.0)))
    expected = projected(np.array([0.2, -0.3, 0.1, -1.0, 0.5, 2.0]), (0.1, -0.2), (1.0, 0.0))
    for name, value in mirrored.tensors().items():
        torch.testing.assert_close(value, expected.tensors()[name], atol=2e-3, rtol=0)


def test_half_of_the_rows_are_mirrored_whatever_the_batch() -> None:
    one = projected(np.array([0.2, 0.3, -0.1, 1.0, 0.5, 2.0]), (0.1, 0.2), (0.0, 1.0))
    count = 200
    facts = row_facts(count)
    batch = LabelledFrames(
        facts, **{name: value.expand(count, *value.shape[1:]) for name, value in one.tensors().items()}
    )
    result = mirror_half(batch)
    yaw_signs = result.pose[:, 1].sign()
    assert 70 < int((yaw_signs < 0).sum()) < 130
    assert torch.equal(result.gaze[:, 1].sign(), yaw_signs)
    again = mirror_half(dataclasses.replace(batch, facts=facts))
    assert torch.equal(again.frames, result.frames)


def test_cached_features_are_refused() -> None:
    one = projected(np.zeros(6), (0.0, 0.0), (0.0, 0.0))
    with pytest.raises(ValueError, match="cached features"):
        mirror(dataclasses.replace(one, features=torch.zeros(1, 4)))
