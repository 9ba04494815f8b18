"""The frozen networks that stand for φ, ψ and 𝒢: perception, or outside ones where they are configured."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.external.emonet import EmoNet, Emotion, load_emonet
from models.external.face_reconstruction import FaceReconstruction
from models.external.l2cs import L2CS, load_l2cs
from models.external.vgg19 import IMAGENET_DEVIATION, IMAGENET_MEAN
from models.official import load_face_reconstruction
from models.perception import Perceived, PerceptionNetwork
from training.stages.face_views import DEEP3D_VIEW, EMONET_VIEW, L2CS_VIEW, see
from training.stages.stage import PretrainedFiles, StageContext


@dataclass(frozen=True)
class Judgement:
    """What the losses compare pictures by.

    phi [B, P]: φ, features of a 3-D face reconstruction; psi [B, Q]: ψ, features of an emotion network;
    gaze [B, 2]: 𝒢, pitch and yaw in rad (perception's in the head, L2CS-Net's against the camera);
    blink [B, 2]: perception's, 0 open, 1 shut.
    """

    phi: Tensor
    psi: Tensor
    gaze: Tensor
    blink: Tensor


class Judges(nn.Module):
    """Perception, with outside networks in the places that they take.

    Reading: φ is Deep3DFaceRecon's pooled feature [B, 2048], in which all its coefficients (expression,
    angles, translation among them) are linear; the paper says "features" and no more. ψ is EmoNet's feature
    [B, 256].
    """

    def __init__(
        self,
        perceiver: PerceptionNetwork,
        reconstruction: FaceReconstruction | None = None,
        emotion: EmoNet | None = None,
        gaze: L2CS | None = None,
    ) -> None:
        super().__init__()
        self.perceiver = perceiver
        self.reconstruction = reconstruction
        self.emotion = emotion
        self.gaze = gaze
        self.mean = nn.Buffer(torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.deviation = nn.Buffer(torch.tensor(IMAGENET_DEVIATION)[:, None, None], persistent=False)

    @override
    def forward(self, image: Tensor) -> Judgement:
        """Look at crops [B, 3, S, S], RGB in [-1, 1], S the preset's."""
        seen: Perceived = self.perceiver(image)
        phi, psi, gaze = seen.feature, seen.shape_feature, seen.gaze
        if self.reconstruction is not None:
            side_px = self.reconstruction.config.trunk.image_side_px
            phi = self.reconstruction.feature(see(image, DEEP3D_VIEW, side_px))
        if self.emotion is not None:
            emotion: Emotion = self.emotion(see(image, EMONET_VIEW, self.emotion.config.image_side_px))
            psi = emotion.feature
        if self.gaze is not None:
            face = see(image, L2CS_VIEW, self.gaze.config.image_side_px)
            gaze = self.gaze((face - self.mean) / self.deviation)
        return Judgement(phi, psi, gaze, seen.blink)


def judges_of(context: StageContext) -> Judges:
    """The network that the stage `perception` left, and the outside networks that are configured.

    Raises:
        ValueError: perception's weights do not fit the preset's network, or a file is not that network's.
    """
    perceiver = PerceptionNetwork(context.networks.perception)
    context.parents["perception"].load_into("perception", perceiver)
    return Judges(perceiver, *_pretrained(context.pretrained))


def _pretrained(files: PretrainedFiles) -> tuple[FaceReconstruction | None, EmoNet | None, L2CS | None]:
    # What is drawn for weights that a file replaces is put back: what trains begins alike with and without.
    with torch.random.fork_rng(devices=[]):
        return (
            None if files.deep3d is None else load_face_reconstruction(files.deep3d),
            None if files.emonet is None else load_emonet(files.emonet),
            None if files.l2cs is None else load_l2cs(files.l2cs),
        )
