"""Every loss on tensors that have shapes and a device but no values.

What would wait for a value raises, and on a fake GPU so does a tensor made on the CPU on the way.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from training.losses.codes.consistency import gaze_consistency_loss, lip_consistency_loss
from training.losses.codes.contrastive import in_batch_contrastive_loss
from training.losses.codes.decorrelation import decorrelation_loss, in_window_mean
from training.losses.codes.eye_contrastive import eye_contrastive_loss
from training.losses.codes.label_readout import label_readout_loss
from training.losses.codes.lip_contrastive import audio_to_video_loss, video_to_audio_loss
from training.losses.codes.memory_bank import MemoryBank
from training.losses.codes.pose import PoseScale, pose_loss
from training.losses.pictures.adversarial import discriminator_hinge_loss, generator_hinge_loss
from training.losses.pictures.feature_matching import feature_matching_loss
from training.losses.pictures.flow import bending_energy, landmark_flow_loss, local_flow_loss
from training.losses.pictures.motion_reconstruction import feature_distance
from training.losses.pictures.perceptual import perceptual_loss
from training.losses.pictures.pixels import face_region_weights, weighted_edge_l1, weighted_l1
from training.losses.pictures.r1_penalty import r1_penalty

Loss = Callable[[Tensor, Tensor], Tensor]


def of_bank(f: Tensor, m: Tensor) -> Tensor:
    bank = MemoryBank(5, 6, device=f.device)
    bank.push(f)
    bank.push(f)
    past = bank.latest()
    return decorrelation_loss(in_window_mean(f[:, None]), f, past, past) + m.sum()


def in_regions(loss: Callable[[Tensor, Tensor, Tensor], Tensor], f: Tensor, m: Tensor) -> Tensor:
    """A pixel loss of two images, weighted by the regions of landmarks."""
    weights = face_region_weights(landmarks_of(f), 224, 3, eyes=2.0, mouth=2.0)
    image = m.expand(-1, 3, -1, -1)
    return loss(image, image, weights)


def landmarks_of(f: Tensor) -> Tensor:
    return f[:, None, :3].expand(-1, 478, -1)


LOSSES: dict[str, Loss] = {
    "lip consistency": lambda f, _: lip_consistency_loss(f, f),
    "gaze consistency": lambda f, _: gaze_consistency_loss(f, f),
    "motion reconstruction": lambda f, _: feature_distance(f, f),
    "perceptual": lambda _, m: perceptual_loss([m], [m], (1.0,)),
    "discriminator hinge": lambda _, m: discriminator_hinge_loss([m], [m]),
    "generator hinge": lambda _, m: generator_hinge_loss([m]),
    "feature matching": lambda _, m: feature_matching_loss([[m]], [[m]]),
    "R1": lambda _, m: r1_penalty([m**2], m),
    "audio to video": lambda f, _: audio_to_video_loss(f, f, f[:, None], temperature=0.1),
    "video to audio": lambda f, _: video_to_audio_loss(f, f, f[:, None], temperature=0.1),
    "in batch": lambda f, _: in_batch_contrastive_loss(f, f, temperature=0.1),
    "eye": lambda f, _: eye_contrastive_loss(f, f, f),
    "pose": lambda f, _: pose_loss(f, f, PoseScale()),
    "decorrelation": of_bank,
    "flow": lambda f, m: landmark_flow_loss(m.expand(-1, 2, -1, -1), landmarks_of(f), landmarks_of(f), 224),
    "flow_local": lambda f, m: local_flow_loss(
        m.expand(-1, 2, -1, -1), landmarks_of(f), landmarks_of(f), 224
    ),
    "flow_bending": lambda _, m: bending_energy(m.expand(-1, 2, -1, -1)),
    "label readout": lambda f, _: label_readout_loss(f[None], f[None].detach(), (1.0,) * 6),
    "pixels": lambda f, m: in_regions(weighted_l1, f, m),
    "edges": lambda f, m: in_regions(weighted_edge_l1, f, m),
}


def fake_inputs(device: str) -> tuple[Tensor, Tensor]:
    features = torch.empty(4, 6, device=device, requires_grad=True)
    return features, torch.empty(4, 1, 3, 3, device=device, requires_grad=True)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_does_not_synchronise(name: str) -> None:
    with FakeTensorMode():
        loss = LOSSES[name](*fake_inputs("cpu"))
        loss.backward()
        assert loss.shape == ()


# R1 differentiates inside, for which PyTorch wants a true GPU.
@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"R1"}))
def test_loss_stays_on_the_device(name: str) -> None:
    with FakeTensorMode():
        assert LOSSES[name](*fake_inputs("cuda")).device.type == "cuda"
