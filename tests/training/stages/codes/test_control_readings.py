"""Readings of control consistency on rendered heads, whose pose and mouth are known."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from demo_corpus.expression import Controls
from demo_corpus.people import build_person, draw_person
from demo_corpus.portraits import BUNDLED, crop_square
from demo_corpus.rendering.camera import HEAD_REST_CM, Camera
from demo_corpus.rendering.render import place, project_head, render_frame
from models.external.face_mesh import load_face_mesh
from training.stages.codes.control_readings import ControlReadings

CAMERA = Camera(256)
ANGLE_RAD = 0.2
FACE_BOUNDS = (10, 152, 234, 454)  # forehead, chin, both temples


def rendered(controls: Controls, angles_rad: tuple[float, float, float], gaze_yaw_rad: float) -> Tensor:
    """A picture of the head, cropped to the face as the shards' crops are."""
    rig = build_person(draw_person(5, 0, BUNDLED), BUNDLED)
    placement = place(np.array(angles_rad), HEAD_REST_CM)
    picture = render_frame(rig, controls, placement, np.array([0.0, gaze_yaw_rad]), CAMERA)
    points, _ = project_head(rig, rig.vertices_cm(controls), placement, CAMERA)
    face = points[list(FACE_BOUNDS)]
    centre, side_px = (face.min(axis=0) + face.max(axis=0)) / 2, 1.3 * np.ptp(face[:, 1])
    crop = crop_square(picture, float(centre[0]), float(centre[1]), float(side_px))
    return torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_readings_change_with_their_control() -> None:
    reader = ControlReadings(load_face_mesh())
    poses = [(0.0, 0.0, 0.0), (ANGLE_RAD, 0.0, 0.0), (0.0, ANGLE_RAD, 0.0), (0.0, 0.0, ANGLE_RAD)]
    pictures = [rendered(Controls(), pose, 0.0) for pose in poses]
    pictures += [
        rendered(Controls(mouth_opening_cm=1.2), poses[0], 0.0),
        rendered(Controls(), poses[0], 0.3),
        rendered(Controls(blink_left=1.0, blink_right=1.0), poses[0], 0.0),
    ]
    # Crops follow the face and so differ in size.
    resized = [functional.interpolate(picture, (96, 96), mode="area") for picture in pictures]
    images = torch.cat(resized).requires_grad_()
    read = reader(images)
    change = {name: (value - value[:1]).detach() for name, value in read.items()}
    angles = change["pose"][1:4]
    assert angles.diagonal().min() > 0.6 * ANGLE_RAD
    assert (angles - angles.diagonal().diag()).abs().max() < 0.35 * ANGLE_RAD
    assert change["mouth"].flatten().argmax() == 4
    assert change["gaze"].unflatten(1, (2, 2))[:, :, 0].mean(dim=1).argmax() == 5
    assert change["lids"].mean(dim=1).argmin() == 6
    torch.stack([value.square().sum() for value in read.values()]).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
