from pathlib import Path

import numpy as np
import pytest
import torch

from demo_corpus.portraits import BUNDLED, crop_square, find_landmarks, load_bundled
from models.external.face_mesh import MESH_POINTS, load_face_mesh

SIDE_PX = 224


def test_mesh_and_irises_agree_with_mediapipe() -> None:
    portrait = load_bundled(BUNDLED[0])
    low, high = (edge(portrait.landmarks_px[:, :2], axis=0) for edge in (np.min, np.max))
    centre, side_px = (low + high) / 2, 1.3 * (high - low)[1]
    crop = crop_square(portrait.image, float(centre[0]), float(centre[1]), float(side_px))
    (expected,) = find_landmarks(crop)
    image = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    image = torch.nn.functional.interpolate(image, (SIDE_PX, SIDE_PX), mode="bilinear", antialias=True)
    with torch.no_grad():
        reading = load_face_mesh()(image)
    assert reading.score.item() > 0
    expected = expected[:, :2] / len(crop) * SIDE_PX
    errors_px = np.linalg.norm(reading.mesh[0, :, :2].numpy() * SIDE_PX - expected[:MESH_POINTS], axis=1)
    assert np.median(errors_px) < 2.5
    irises_px = reading.irises[0, :, 0].numpy() * SIDE_PX
    assert np.linalg.norm(irises_px - expected[[468, 473]], axis=1).max() < 2.5


def test_missing_files_name_the_package(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"install mediapipe==0\.10\.21, which contains it"):
        load_face_mesh(tmp_path)
