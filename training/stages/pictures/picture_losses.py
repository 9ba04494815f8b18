"""Losses of a generated picture against the driving frame, shared by stages 1 and 3."""

from collections.abc import Mapping
from typing import Final

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from models.external.face_mesh import FaceMeshNetworks, FaceReading
from models.external.vgg19 import VGG19Features
from models.generator import Synthesis
from preprocessing.schema import CROP_SIDE_PX
from storage.settings import Settings
from training.data.batches import ClipPairs, ExpressionWindows
from training.losses.codes.consistency import gaze_consistency_loss
from training.losses.distances import mean_absolute_difference
from training.losses.pictures.adversarial import generator_hinge_loss
from training.losses.pictures.feature_matching import feature_matching_loss
from training.losses.pictures.flow import bending_energy, landmark_flow_loss, local_flow_loss
from training.losses.pictures.motion_reconstruction import feature_distance
from training.losses.pictures.perceptual import PC_AVS_LAYER_WEIGHTS, perceptual_loss
from training.losses.pictures.pixels import face_region_weights, weighted_edge_l1, weighted_l1
from training.stages.pictures.adversary import (
    Adversary,
    features,
    frozen_parameters,
    no_gradient_scores,
    scores,
)
from training.stages.pictures.perceptual_networks import (
    FaceReader,
    MeshReader,
    PerceptualFeatures,
    build_perceptual_networks,
)
from training.stages.stage import FrozenNetwork, StageContext

FLOW_LOSSES: Final = ("flow", "flow_local", "flow_bending")
"""Losses of the flow, which networks with the appearance path `warp` alone have."""


class PictureWeights(Settings):
    """Loss weights. Unverified: λ of vgg and feature_matching were found unused in the official code.

    A loss of weight 0 is not computed.
    """

    phi: float = Field(default=1.0, ge=0, description="φ, the 3D face, in L_mot")
    psi: float = Field(default=1.0, ge=0, description="ψ, the expression, in L_mot")
    vgg: float = Field(
        default=10.0,
        ge=0,
        description="Perceptual loss (VGG-19). The official code's left-over configuration has a second one "
        "on a face network (λ_vggface 5), which is not implemented",
    )
    adversarial: float = Field(default=1.0, ge=0, description="Adversarial loss")
    feature_matching: float = Field(
        default=10.0,
        ge=0,
        description="Feature matching; the paper names it for stage 3 only, PC-AVS uses it throughout",
    )
    pixel: float = Field(
        default=0.0,
        ge=0,
        description="L1 of pixels; ours, for short runs. Unverified: λ_image is 1 in the official code's "
        "left-over configuration",
    )
    edges: float = Field(
        default=0.0, ge=0, description="L1 of differences between neighbouring pixels; ours, for short runs"
    )
    gaze: float = Field(default=0.0, ge=0, description="Gaze; in the paper a part of stage 3's L_con")
    lids: float = Field(default=0.0, ge=0, description="Lid opening; ours")
    flow: float = Field(
        default=0.0, ge=0, description="Landmarks moved by the flow of the appearance path warp; ours"
    )
    flow_local: float = Field(
        default=0.0,
        ge=0,
        description="The same for lids, irises and lips relative to their neighbours; ours",
    )

    flow_bending: float = Field(
        default=0.0, ge=0, description="Bending energy of the same flow: outlines that do not tear; ours"
    )

    @property
    def use_adversary(self) -> bool:
        """Whether any loss needs the discriminator."""
        return self.adversarial > 0 or self.feature_matching > 0

    @property
    def use_face_reader(self) -> bool:
        """Whether any loss needs the face reader."""
        return max(self.phi, self.psi, self.gaze, self.lids) > 0


class PictureSettings(Settings):
    """How the losses of a picture are computed; all ours but the layer weights."""

    vgg_layer_weights: tuple[float, float, float, float, float] = PC_AVS_LAYER_WEIGHTS
    face_reader: FaceReader = Field(
        default="mediapipe",
        description="Network that reads φ, ψ, gaze and lids where no pretrained one is configured",
    )
    face_rows: int = Field(
        default=0,
        ge=0,
        description="Rows of a batch whose faces are read; 0: all. With a small generator, reading costs "
        "more than generating",
    )
    eye_weight: float = Field(default=1.0, ge=1, description="Weight of the eyes in the pixel losses")
    mouth_weight: float = Field(default=1.0, ge=1, description="Weight of the mouth in the pixel losses")


class PictureLosses(nn.Module):
    """The losses of generated pictures, with the frozen networks that they need."""

    def __init__(
        self, context: StageContext, weights: PictureWeights, settings: PictureSettings, adversary: Adversary
    ) -> None:
        super().__init__()
        self._weights, self._settings = weights, settings
        # In a tuple, so that it is not a submodule: it has its own optimizer.
        self._adversary = (adversary,)
        networks = context.networks
        self.side_px = networks.image_side_px
        self.perceptual = (
            FrozenNetwork(build_perceptual_networks(context, settings.face_reader))
            if weights.use_face_reader
            else None
        )
        self.vgg = (
            FrozenNetwork(VGG19Features(networks.vgg19, context.pretrained.vgg19)) if weights.vgg else None
        )

    @override
    def forward(
        self,
        synthesis: Synthesis,
        driving: Tensor,
        batch: ClipPairs | ExpressionWindows,
        reading: FaceReading | None = None,
    ) -> Mapping[str, Tensor]:
        """Losses by name, unweighted; those of weight 0 are left out.

        Args:
            synthesis: generated images [B, 3, S, S] and their flow.
            driving: the frames that they reconstruct, [B, 3, S, S] in [-1, 1].
            batch: landmarks of appearance and driving frames.
            reading: of the first `face_rows` generated images by the face mesh, if they were read already.

        Raises:
            ValueError: the flow has a weight, but the generator has none.
        """
        generated = synthesis.image.float()
        losses = self._pixels(generated, driving, batch.landmarks_px)
        losses |= self._faces(generated, driving, reading) | self._flow(synthesis, batch)
        if self.vgg is not None:
            with torch.no_grad():
                target = self.vgg(driving)
            losses["vgg"] = perceptual_loss(target, self.vgg(generated), self._settings.vgg_layer_weights)
        return losses | self._adversarial(generated, driving)

    def _pixels(self, generated: Tensor, driving: Tensor, landmarks_px: Tensor) -> dict[str, Tensor]:
        weights, settings = self._weights, self._settings
        losses: dict[str, Tensor] = {}
        if weights.pixel or weights.edges:
            regions = face_region_weights(
                landmarks_px,
                CROP_SIDE_PX,
                self.side_px,
                eyes=settings.eye_weight,
                mouth=settings.mouth_weight,
            )
            if weights.pixel:
                losses["pixel"] = weighted_l1(driving, generated, regions)
            if weights.edges:
                losses["edges"] = weighted_edge_l1(driving, generated, regions)
        return losses

    def _flow(self, synthesis: Synthesis, batch: ClipPairs | ExpressionWindows) -> dict[str, Tensor]:
        terms = {"flow": landmark_flow_loss, "flow_local": local_flow_loss}
        losses: dict[str, Tensor] = {}
        for name, loss in terms.items():
            if getattr(self._weights, name):
                landmarks_px = batch.appearance_landmarks_px, batch.landmarks_px
                losses[name] = loss(self._require_flow(synthesis, name), *landmarks_px, CROP_SIDE_PX)
        if self._weights.flow_bending:
            losses["flow_bending"] = bending_energy(self._require_flow(synthesis, "flow_bending"))
        return losses

    @staticmethod
    def _require_flow(synthesis: Synthesis, name: str) -> Tensor:
        if synthesis.flow is None:
            raise ValueError(f"the loss `{name}` needs a generator with the appearance path 'warp'")
        return synthesis.flow

    @property
    def mesh(self) -> FaceMeshNetworks | None:
        """The face mesh that reads faces; None where another network does."""
        reader = None if self.perceptual is None else self.perceptual.network.reader
        return reader.networks if isinstance(reader, MeshReader) else None

    def _faces(self, generated: Tensor, driving: Tensor, reading: FaceReading | None) -> dict[str, Tensor]:
        if self.perceptual is None:
            return {}
        rows = self._settings.face_rows or len(generated)
        with torch.no_grad():
            target: PerceptualFeatures = self.perceptual(driving[:rows])
        result: PerceptualFeatures = self.perceptual(generated[:rows], reading)
        losses = {
            "phi": feature_distance(target.phi, result.phi),
            "psi": feature_distance(target.psi, result.psi),
            "gaze": gaze_consistency_loss(result.gaze, target.gaze),
            "lids": mean_absolute_difference(target.lids, result.lids),
        }
        return {name: loss for name, loss in losses.items() if getattr(self._weights, name)}

    def _adversarial(self, generated: Tensor, driving: Tensor) -> dict[str, Tensor]:
        weights, (adversary,) = self._weights, self._adversary
        if not weights.use_adversary:
            return {}
        output_real = no_gradient_scores(adversary.network, driving)
        with frozen_parameters(adversary.network) as network:
            output_generated = network(generated)
        losses = {
            "adversarial": generator_hinge_loss(scores(output_generated)),
            "feature_matching": feature_matching_loss(features(output_real), features(output_generated)),
        }
        return {name: loss for name, loss in losses.items() if getattr(weights, name)}
