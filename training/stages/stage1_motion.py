"""Stage 1: appearance and unified motion, by reconstructing a driving frame of the same clip.

Trains E_app, the trunk of E_mot, G0 and a discriminator. G0's style is the appearance code concatenated with
the unified motion feature; the four heads of E_mot are not used yet.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from models.appearance import Appearance, AppearanceEncoder
from models.external.vgg19 import VGG19Features
from models.generator import Generator
from models.landmark_trunk import LandmarkTrunk
from storage.settings import Settings
from training.data.augmentation import MotionAugmentation, augment_motion
from training.data.batches import ClipPairs
from training.data.frames import to_network_input
from training.data.index import ClipIndex
from training.data.sources import ClipPairSettings, ClipPairSource
from training.engine.progress import HeldOutMetric
from training.engine.settings import DISCRIMINATOR_OPTIMIZER, GENERATOR_OPTIMIZER, OptimizerSettings
from training.losses.adversarial import generator_hinge_loss
from training.losses.distances import mean_absolute_difference
from training.losses.feature_matching import feature_matching_loss
from training.losses.motion_reconstruction import feature_distance
from training.losses.perceptual import PC_AVS_LAYER_WEIGHTS, perceptual_loss
from training.stages.adversary import (
    Adversary,
    AdversarySettings,
    features,
    frozen_parameters,
    no_gradient_scores,
    scores,
)
from training.stages.generator import first_generator_config, freeze_noise
from training.stages.held_out_metrics import ReconstructionMetrics
from training.stages.perceptual_networks import PerceptualFeatures, build_perceptual_networks
from training.stages.stage import FrozenNetwork, LossModule, Stage, StageContext, StepResult, real_rows


class MotionWeights(Settings):
    """Loss weights. Unverified: λ of vgg and feature_matching were found unused in the official code."""

    phi: float = Field(default=1.0, ge=0, description="φ, the 3D face, in L_mot")
    psi: float = Field(default=1.0, ge=0, description="ψ, the emotion, in L_mot")
    vgg: float = Field(default=10.0, ge=0, description="Perceptual loss (VGG-19)")
    adversarial: float = Field(default=1.0, ge=0, description="Adversarial loss")
    feature_matching: float = Field(
        default=10.0,
        ge=0,
        description="Feature matching; the paper names it for stage 3 only, PC-AVS uses it throughout",
    )
    pixel: float = Field(default=0.0, ge=0, description="L1 of pixels; ours, for short runs")


class MotionStageSettings(Settings):
    """Settings of stage 1. Unverified: everything but the form of the losses."""

    weights: MotionWeights = MotionWeights()
    pairs: ClipPairSettings = ClipPairSettings()
    augmentation: MotionAugmentation = MotionAugmentation()
    adversary: AdversarySettings = AdversarySettings()
    vgg_layer_weights: tuple[float, float, float, float, float] = PC_AVS_LAYER_WEIGHTS
    # Ours: initialise E_mot's trunk, whose layout is a face alignment network's, from perception's trunk.
    # Unverified whether the paper started from a published alignment network.
    start_trunk_from_perception: bool = False
    optimizer: OptimizerSettings = OptimizerSettings()
    # The released generator uses learned noise. Ours: False keeps the noise strengths at zero.
    generator_noise: bool = True
    generator_optimizer: OptimizerSettings = GENERATOR_OPTIMIZER
    # Ours: below 1, a trunk that encodes eyes and lips keeps doing so; reconstruction hardly rewards it.
    trunk_rate_factor: float = Field(default=1.0, gt=0)
    adversary_optimizer: OptimizerSettings = DISCRIMINATOR_OPTIMIZER


class MotionModel(LossModule):
    """E_app, the trunk of E_mot and G0, with the frozen networks of their losses."""

    def __init__(self, context: StageContext, settings: MotionStageSettings, adversary: Adversary) -> None:
        super().__init__()
        networks = context.networks
        self._settings = settings
        # In a tuple, so that it is not a submodule: it has its own optimizer.
        self._adversary = (adversary,)
        self.appearance = AppearanceEncoder(networks.appearance)
        self.motion = LandmarkTrunk(networks.motion.trunk)
        perceptual = build_perceptual_networks(context)
        if settings.start_trunk_from_perception:
            self.motion.load_state_dict(perceptual.perception.trunk.state_dict())
        self.generator = Generator(first_generator_config(networks))
        if not settings.generator_noise:
            freeze_noise(self.generator)
        self.perceptual = FrozenNetwork(perceptual)
        self.vgg = FrozenNetwork(VGG19Features(networks.vgg19, context.pretrained.vgg19))
        self.side_px = networks.image_side_px

    def reconstruct(self, appearance: Tensor, driving: Tensor) -> Tensor:
        """The driving frame reconstructed, [B, 3, S, S], from appearance and driving frames [B, 3, S, S]."""
        encoded: Appearance = self.appearance(appearance)
        return self.generator(torch.cat([encoded.code, self.motion(driving)], dim=1), encoded.map)

    @override
    def part_optimizers(self) -> Mapping[str, OptimizerSettings]:
        settings, trunk = self._settings, self._settings.optimizer
        rate = trunk.learning_rate * settings.trunk_rate_factor
        return {"generator.": settings.generator_optimizer, "motion.": trunk.replace(learning_rate=rate)}

    @override
    def forward(self, batch: ClipPairs) -> StepResult:
        """The losses of the driving frame reconstructed from an augmented view of it."""
        settings, (adversary,) = self._settings, self._adversary
        driving = to_network_input(batch.driving, self.side_px)
        appearance = to_network_input(batch.appearance, self.side_px)
        augmented = augment_motion(driving, batch.facts.seeds, settings.augmentation)
        generated = self.reconstruct(appearance, augmented).float()
        with torch.no_grad():
            target: PerceptualFeatures = self.perceptual(driving)
            target_vgg = self.vgg(driving)
        result: PerceptualFeatures = self.perceptual(generated)
        output_real = no_gradient_scores(adversary.network, driving)
        with frozen_parameters(adversary.network) as network:
            output_generated = network(generated)
        losses = {
            "phi": feature_distance(target.phi, result.phi),
            "psi": feature_distance(target.psi, result.psi),
            "vgg": perceptual_loss(target_vgg, self.vgg(generated), settings.vgg_layer_weights),
            "adversarial": generator_hinge_loss(scores(output_generated)),
            "feature_matching": feature_matching_loss(features(output_real), features(output_generated)),
            "pixel": mean_absolute_difference(driving, generated),
        }
        return StepResult(losses, real=driving, generated=generated)


class MotionStage(Stage[ClipPairs]):
    """Stage 1: trains all of `MotionModel` but the loss networks; starts from perception."""

    name = "stage1_motion"
    version = "2"
    settings_type = MotionStageSettings

    def __init__(self, context: StageContext, settings: MotionStageSettings) -> None:
        self.settings = settings
        adversary = Adversary(context.networks.discriminator, settings.adversary)
        self.model = self._model = MotionModel(context, settings, adversary)
        self.adversary = adversary
        self.loss_weights = vars(settings.weights) | settings.adversary.weights()
        self.optimizer = settings.optimizer
        self.adversary_optimizer = settings.adversary_optimizer
        self.saved = {
            "appearance": self._model.appearance,
            "motion.model": self._model.motion,
            "generator": self._model.generator,
            "discriminator": adversary.network,
        }
        self.averaged = ("appearance", "motion.model", "generator")

    @override
    def source(self, index: ClipIndex) -> ClipPairSource:
        return ClipPairSource(index, self.settings.pairs)

    @override
    def held_out(self, batches: Iterable[ClipPairs]) -> list[HeldOutMetric]:
        """PSNR and SSIM of the reconstructed frame, against copying the appearance frame."""
        reconstruction = ReconstructionMetrics()
        for batch in batches:
            rows = real_rows(batch)
            appearance = to_network_input(batch.appearance[rows], self._model.side_px)
            driving = to_network_input(batch.driving[rows], self._model.side_px)
            reconstruction.add(self._model.reconstruct(appearance, driving).float(), driving, appearance)
        return reconstruction.metrics()

    @override
    def sample_grid(self, batch: ClipPairs) -> Tensor:
        """Columns: appearance, driving frame, its augmented view, generated frame."""
        appearance = to_network_input(batch.appearance, self._model.side_px)
        driving = to_network_input(batch.driving, self._model.side_px)
        augmented = augment_motion(driving, batch.facts.seeds, self.settings.augmentation)
        generated = self._model.reconstruct(appearance, augmented)
        return torch.stack([appearance, driving, augmented, generated], dim=1)


STAGE: Final = MotionStage
