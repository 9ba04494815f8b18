"""φ, ψ, gaze and lids of MediaPipe's networks."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from demo_corpus.expression import Controls
from demo_corpus.people import build_person, draw_person
from demo_corpus.portraits import BUNDLED, crop_square
from demo_corpus.rendering.camera import HEAD_REST_CM, Camera
from demo_corpus.rendering.render import place, project_head, render_frame
from models.external.face_mesh import EYE_CORNERS, MESH_POINTS, FaceReading, load_face_mesh
from models.external.mesh_measures import EXPRESSION_DISTANCES, LOWER_LID, UPPER_LID, eye_measures
from preprocessing.faces.shape.frame_of_reference import rotation_from_angles
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import toy_parents
from tests.training.stages.test_stage1_motion import make_batch
from training.engine.optimizer import weighted_total
from training.stages.pictures.perceptual_networks import MeshReader, PerceptualFeatures
from training.stages.stage import StageContext
from training.stages.stage1_motion import MotionStage, MotionStageSettings, MotionWeights

CAMERA = Camera(256)
FACE_BOUNDS = (10, 152, 234, 454)  # forehead, chin, both temples


class Reading(nn.Module):
    """Networks that read the same in every image."""

    def __init__(self, reading: FaceReading) -> None:
        super().__init__()
        self.reading = reading

    @override
    def forward(self, image: Tensor) -> FaceReading:
        del image
        return self.reading


def features_of(reading: FaceReading) -> PerceptualFeatures:
    reader = MeshReader(load_face_mesh())
    reader.networks = Reading(reading)  # pyright: ignore[reportAttributeAccessIssue]
    features: PerceptualFeatures = reader(torch.zeros(1, 3, 8, 8))
    return features


def make_reading(mesh: Tensor) -> FaceReading:
    """A reading with hand-placed eyes, both alike: 2 of 10 wide, the iris a fourth aside and above."""
    contours, irises = torch.zeros(1, 2, 71, 2), torch.zeros(1, 2, 5, 2)
    mesh = mesh.clone()
    for eye, (left, right) in enumerate(EYE_CORNERS):
        x = 0.2 + 0.4 * eye
        mesh[0, left, :2], mesh[0, right, :2] = torch.tensor([x, 0.5]), torch.tensor([x + 0.2, 0.5])
        contours[0, eye, UPPER_LID] = torch.tensor([x + 0.1, 0.47])
        contours[0, eye, LOWER_LID] = torch.tensor([x + 0.1, 0.51])
        irises[0, eye] = torch.tensor([x + 0.15, 0.45])
    return FaceReading(mesh, torch.ones(1), contours, irises)


def random_mesh() -> Tensor:
    return torch.rand(1, MESH_POINTS, 3, generator=torch.Generator().manual_seed(0))


def test_psi_is_distances_in_units_of_the_eyes_distance() -> None:
    mesh = torch.zeros(1, MESH_POINTS, 3)
    mesh[0, 33, 0], mesh[0, 263, 0] = 0.3, 0.7  # .4 apart
    mesh[0, 13, 1], mesh[0, 14, 1] = 0.6, 0.8  # lips .2 apart
    mesh[0, 61] = torch.tensor([0.3, 0.3, 0.4])  # .5 from the eye corner 33
    psi = features_of(FaceReading(mesh, torch.ones(1), torch.rand(1, 2, 71, 2), torch.rand(1, 2, 5, 2))).psi
    assert psi.shape == (1, len(EXPRESSION_DISTANCES))
    assert psi[0, EXPRESSION_DISTANCES.index((13, 14))].item() == pytest.approx(0.5, abs=1e-4)
    assert psi[0, EXPRESSION_DISTANCES.index((61, 33))].item() == pytest.approx(1.25, abs=1e-4)


def test_psi_does_not_change_with_the_head() -> None:
    reading = make_reading(random_mesh())
    rotation = torch.from_numpy(rotation_from_angles(np.array([0.4, -0.7, 0.3]))).float()
    moved = 0.6 * reading.mesh @ rotation.T + torch.tensor([0.2, -0.1, 0.3])
    first = features_of(reading)
    second = features_of(FaceReading(moved, reading.score, reading.contours, reading.irises))
    torch.testing.assert_close(second.psi, first.psi, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(second.phi, first.phi, atol=0.05)
    speaking = reading.mesh.clone()
    speaking[0, 14, 1] += 0.1
    third = features_of(FaceReading(speaking, reading.score, reading.contours, reading.irises))
    assert not torch.allclose(third.psi[:, 0], first.psi[:, 0], atol=1e-2)


def test_eye_measures_hand_values() -> None:
    gaze, lids = eye_measures(make_reading(random_mesh()))
    # The iris: .05 of .2 to the right, .05 above; the lids .04 apart.
    torch.testing.assert_close(gaze, torch.tensor([[0.25, -0.25, 0.25, -0.25]]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(lids, torch.tensor([[0.2, 0.2]]), rtol=1e-4, atol=1e-5)


def test_eye_measures_turn_with_the_head() -> None:
    reading, angle = make_reading(random_mesh()), 0.5
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    mesh = torch.cat([1.5 * reading.mesh[..., :2] @ turn.T + 0.1, reading.mesh[..., 2:]], dim=2)
    contours, irises = (1.5 * points @ turn.T + 0.1 for points in (reading.contours, reading.irises))
    turned = eye_measures(FaceReading(mesh, reading.score, contours, irises))
    torch.testing.assert_close(turned, eye_measures(reading), rtol=1e-4, atol=1e-5)


def test_shut_eyes_have_smaller_lids_each_on_its_side() -> None:
    rig = build_person(draw_person(5, 0, BUNDLED), BUNDLED)
    frontal = place(np.zeros(3), HEAD_REST_CM)
    points, _ = project_head(rig, rig.vertices_cm(Controls()), frontal, CAMERA)
    face = points[list(FACE_BOUNDS)]
    centre, side_px = (face.min(axis=0) + face.max(axis=0)) / 2, 1.3 * np.ptp(face[:, 1])
    crops = [
        crop_square(picture, float(centre[0]), float(centre[1]), float(side_px))
        for picture in (
            render_frame(rig, controls, frontal, np.zeros(2), CAMERA)
            for controls in (Controls(), Controls(blink_left=1.0), Controls(blink_right=1.0))
        )
    ]
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        lids = MeshReader(load_face_mesh())(images).lids
    opened, left, right = lids.tolist()
    # Measured: .24 open, .11 and .06 shut.
    assert min(opened) > 0.2
    assert left[0] < opened[0] - 0.1
    assert abs(left[1] - opened[1]) < 0.02
    assert right[1] < opened[1] - 0.1
    assert abs(right[0] - opened[0]) < 0.02


def test_stage1_step_with_the_mesh_reader() -> None:
    torch.manual_seed(0)
    weights = MotionWeights(vgg=0.0, adversarial=0.0, feature_matching=0.0, gaze=1.0, lids=1.0)
    stage = MotionStage(StageContext(TOY, toy_parents()), MotionStageSettings(weights=weights))
    model = stage.model.train()
    reader = model.get_submodule("picture_losses.perceptual")
    assert any(isinstance(module, MeshReader) for module in reader.modules())
    losses = model(make_batch()).losses
    assert set(losses) == {"phi", "psi", "gaze", "lids"}
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    weighted_total(losses, stage.loss_weights).backward()
    assert not any(module.training for module in reader.modules())
    assert all(value.grad is None for value in reader.parameters())
    gradients = [value.grad for value in stage.saved["generator"].parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient is not None and gradient.any() for gradient in gradients)
