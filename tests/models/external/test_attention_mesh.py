"""The face mesh with attention in torch, against LiteRT on the same picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from models.external.attention_mesh import AttentionMesh, load_attention_mesh
from preprocessing.faces.tflite.mesh import AttentionMesh as LiteRTMesh
from preprocessing.faces.tflite.mesh import Region


def test_points_equal_literts_in_a_batch() -> None:
    face = np.ascontiguousarray(astronaut()[:300, 80:380])
    turned = cv2.getRotationMatrix2D((150.0, 120.0), 12.0, 1.0)
    images = [face, np.asarray(cv2.warpAffine(face, turned, (300, 300)), np.uint8)]
    # The whole picture is the region, so that both get the same pixels.
    pictures = [np.asarray(cv2.resize(image[:240, 20:260], (192, 192)), np.uint8) for image in images]
    region = Region(np.array([96.0, 96.0]), 192.0, 0.0)
    expected = [LiteRTMesh().find(picture, region, 0.5) for picture in pictures]
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255.0
    with torch.inference_mode():
        points, logits = load_attention_mesh()(batch)
    assert points.shape == (2, 478, 3)
    assert (logits > 0.0).all()
    for found, wanted in zip(points.numpy(), expected, strict=True):
        assert wanted is not None
        assert np.abs(found - wanted).mean() < 0.01
        assert np.abs(found - wanted).max() < 0.1


def test_wrong_shape_and_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"picture must be \[B, 3, 192, 192\]"):
        load_attention_mesh()(torch.zeros(1, 3, 64, 64))
    with pytest.raises(FileNotFoundError, match=r"face_landmark_with_attention\.tflite is missing"):
        AttentionMesh(tmp_path)
