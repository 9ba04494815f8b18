"""MediaPipe's networks as the motion encoder's trunk."""

import copy

import pytest
import torch
from pydantic import TypeAdapter

from models.external.face_mesh import load_face_mesh
from models.motion import MotionConfig
from models.presets import SMALL, TINY_MESH
from models.trunks.landmark_trunk import LandmarkTrunk
from models.trunks.mesh_trunk import POINTS, MeshTrunk, MeshTrunkConfig, build_trunk

SIDE_PX = 64
CONFIG = MeshTrunkConfig(SIDE_PX)


def test_feature_begins_with_the_points_that_the_mesh_network_reads() -> None:
    torch.manual_seed(0)
    images = torch.rand(3, 3, SIDE_PX, SIDE_PX) * 2 - 1
    with torch.no_grad():
        feature, reading = MeshTrunk(CONFIG)(images), load_face_mesh()(images)
    assert feature.shape == (3, CONFIG.feature_width)
    places = feature[:, : 3 * len(POINTS)].unflatten(1, (len(POINTS), 3))
    torch.testing.assert_close(places, reading.mesh[:, list(POINTS)])


def test_gradients_reach_the_image_alone() -> None:
    trunk = MeshTrunk(CONFIG)
    image = torch.zeros(1, 3, SIDE_PX, SIDE_PX, requires_grad=True)
    trunk(image).square().sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.abs().max() > 0
    assert not list(trunk.parameters())


def test_measured_features_have_unit_variance_and_a_checkpoint_holds_the_scale_alone() -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 3, SIDE_PX, SIDE_PX) * 2 - 1
    trunk = MeshTrunk(CONFIG)
    with torch.no_grad():
        trunk.measure(trunk(images))
        feature = trunk(images)
    assert set(trunk.state_dict()) == {"standardise.mean", "standardise.factor"}
    torch.testing.assert_close(feature.mean(dim=0), torch.zeros(CONFIG.feature_width), atol=1e-4, rtol=0)
    places = feature[:, : 3 * len(POINTS)]
    assert places.std(dim=0, correction=0).max().item() == pytest.approx(1, abs=1e-3)
    loaded = MeshTrunk(CONFIG)
    loaded.load_state_dict(copy.deepcopy(trunk.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), feature)


def test_stored_settings_keep_the_kind_of_trunk() -> None:
    adapter = TypeAdapter(MotionConfig)
    for config in (TINY_MESH.motion, SMALL.motion, MotionConfig()):
        stored = adapter.dump_json(config)
        assert adapter.validate_json(stored) == config
    assert isinstance(build_trunk(SMALL.motion.trunk), LandmarkTrunk)
    assert isinstance(build_trunk(TINY_MESH.motion.trunk), MeshTrunk)


def test_a_crop_of_another_side_gives_about_the_same_feature() -> None:
    """The trunk reads stored crops, and the pictures that a smaller generator makes of them."""
    torch.manual_seed(0)
    small = torch.rand(1, 3, 8, 8) * 2 - 1
    sides = [torch.nn.functional.interpolate(small, (side, side), mode="bilinear") for side in (64, 192)]
    with torch.no_grad():
        first, second = (MeshTrunk(CONFIG)(image)[0, : 3 * len(POINTS)] for image in sides)
    assert (first - second).abs().mean() < 0.1 * (first - first.mean()).abs().mean()
    with pytest.raises(ValueError, match="image must be"):
        MeshTrunk(CONFIG)(torch.zeros(1, 3, 64, 32))
