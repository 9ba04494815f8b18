"""Stage 1: appearance and unified motion, by remaking the driving frame (self-driving).

Trains E_app, the trunk of E_mot, G0 and a discriminator. G0's style is the appearance's code and the
unified motion feature, side by side; the four heads of E_mot take no part yet.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from models.appearance import Appearance, AppearanceEncoder
from models.external.vgg19 import PerceptualFeatures
from models.generator import Generator, GeneratorConfig
from models.landmark_trunk import LandmarkTrunk
from models.presets import NetworkPreset
from storage.settings import Settings
from training.data.augmentation import MotionAugmentation, augment_motion
from training.data.batches import ClipPairs
from training.data.frames import to_network_input
from training.data.index import ClipIndex
from training.data.sources import ClipPairSettings, ClipPairSource
from training.engine.settings import OptimiserSettings
from training.losses.adversarial import generator_hinge_loss
from training.losses.distances import mean_absolute_difference
from training.losses.feature_matching import feature_matching_loss
from training.losses.motion_reconstruction import feature_distance
from training.losses.perceptual import PC_AVS_LAYER_WEIGHTS, perceptual_loss
from training.stages.adversary import (
    Adversary,
    AdversarySettings,
    features,
    held_still,
    no_gradient_scores,
    scores,
)
from training.stages.generator_noise import hold_noise_at_zero
from training.stages.judges import Judgement, judges_of
from training.stages.reconstruction import ReconstructionTally
from training.stages.stage import Figure, Frozen, Player, Stage, StageContext, StepResult, real_rows


class MotionWeights(Settings):
    """Weights of the losses. Unverified: λ of VGG and of features are left over in the official code."""

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


class MotionSettings(Settings):
    """Stage 1. Unverified: all but the losses' forms."""

    weights: MotionWeights = MotionWeights()
    pairs: ClipPairSettings = ClipPairSettings()
    augmentation: MotionAugmentation = MotionAugmentation()
    adversary: AdversarySettings = AdversarySettings()
    vgg_layer_weights: tuple[float, float, float, float, float] = PC_AVS_LAYER_WEIGHTS
    # Ours: E_mot's trunk, a face alignment network by its layout, begins as the one that knows landmarks.
    # Unverified whether the paper's began as a published alignment network.
    start_trunk_from_perception: bool = False
    optimiser: OptimiserSettings = OptimiserSettings()
    # The released generator has learned noise. Ours: off, its strengths stay at zero.
    generator_noise: bool = True
    # The generator's weights are of variance one and scaled when used, so a rate moves them by a smaller
    # part than it moves the encoders'. 1: one rate for all, as left over in the official code.
    generator_rate_factor: float = Field(default=1.0, gt=0)
    # Below 1 a trunk that has learnt eyes and lips keeps them, which remade pictures hardly ask for; ours.
    trunk_rate_factor: float = Field(default=1.0, ge=0)
    adversary_optimiser: OptimiserSettings = OptimiserSettings()


class MotionModel(Player):
    """E_app, the trunk of E_mot and G0, with all that judges what they make."""

    def __init__(self, context: StageContext, settings: MotionSettings, adversary: Adversary) -> None:
        super().__init__()
        networks = context.networks
        self._settings = settings
        # Not a module of this one: it has a turn and an optimiser of its own.
        self._adversary = (adversary,)
        self.appearance = AppearanceEncoder(networks.appearance)
        self.motion = LandmarkTrunk(networks.motion.trunk)
        judges = judges_of(context)
        if settings.start_trunk_from_perception:
            self.motion.load_state_dict(judges.perceiver.trunk.state_dict())
        self.generator = Generator(first_generator_config(networks))
        if not settings.generator_noise:
            hold_noise_at_zero(self.generator)
        self.judges = Frozen(judges)
        self.vgg = Frozen(PerceptualFeatures(networks.perceptual, context.pretrained.vgg19))
        self.side_px = networks.image_side_px

    def remake(self, appearance: Tensor, driving: Tensor) -> Tensor:
        """The driving frame, remade: pictures [B, 3, S, S] of appearance and driving [B, 3, S, S]."""
        who: Appearance = self.appearance(appearance)
        return self.generator(torch.cat([who.code, self.motion(driving)], dim=1), who.map)

    @override
    def rate_factors(self) -> Mapping[str, float]:
        settings = self._settings
        return {"generator.": settings.generator_rate_factor, "motion.": settings.trunk_rate_factor}

    @override
    def forward(self, batch: ClipPairs) -> StepResult:
        """Remake the driving frame from an augmented view of it, and compare."""
        settings, (adversary,) = self._settings, self._adversary
        driving = to_network_input(batch.driving, self.side_px)
        appearance = to_network_input(batch.appearance, self.side_px)
        moved = augment_motion(driving, batch.facts.seeds, settings.augmentation)
        generated = self.remake(appearance, moved).float()
        with torch.no_grad():
            target: Judgement = self.judges(driving)
            target_vgg = self.vgg(driving)
        seen: Judgement = self.judges(generated)
        target_verdict = no_gradient_scores(adversary.network, driving)
        with held_still(adversary.network) as network:
            verdict = network(generated)
        losses = {
            "phi": feature_distance(target.phi, seen.phi),
            "psi": feature_distance(target.psi, seen.psi),
            "vgg": perceptual_loss(target_vgg, self.vgg(generated), settings.vgg_layer_weights),
            "adversarial": generator_hinge_loss(scores(verdict)),
            "feature_matching": feature_matching_loss(features(target_verdict), features(verdict)),
            "pixel": mean_absolute_difference(driving, generated),
        }
        return StepResult(losses, real=driving, generated=generated)


class MotionStage(Stage[ClipPairs]):
    """Stage 1."""

    name = "stage1_motion"
    version = "1"
    settings_type = MotionSettings

    def __init__(self, context: StageContext, settings: MotionSettings) -> None:
        self.settings = settings
        adversary = Adversary(context.networks.discriminator, settings.adversary)
        self.model = self._model = MotionModel(context, settings, adversary)
        self.adversary = adversary
        self.loss_weights = vars(settings.weights) | settings.adversary.weights()
        self.optimiser = settings.optimiser
        self.adversary_optimiser = settings.adversary_optimiser
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
    def held_out(self, batches: Iterable[ClipPairs]) -> list[Figure]:
        """PSNR and SSIM of the remade frame, against handing out the appearance frame."""
        tally = ReconstructionTally()
        for batch in batches:
            rows = real_rows(batch)
            appearance = to_network_input(batch.appearance[rows], self._model.side_px)
            driving = to_network_input(batch.driving[rows], self._model.side_px)
            tally.add(self._model.remake(appearance, driving).float(), driving, appearance)
        return tally.figures()

    @override
    def sample_grid(self, batch: ClipPairs) -> Tensor:
        """Appearance, driving frame, what the motion branch saw, what was made."""
        appearance = to_network_input(batch.appearance, self._model.side_px)
        driving = to_network_input(batch.driving, self._model.side_px)
        moved = augment_motion(driving, batch.facts.seeds, self.settings.augmentation)
        return torch.stack([appearance, driving, moved, self._model.remake(appearance, moved)], dim=1)


STAGE: Final = MotionStage


def first_generator_config(networks: NetworkPreset) -> GeneratorConfig:
    """G0's: the preset's generator with a style of appearance and unified motion."""
    width = networks.style_widths.appearance + networks.motion.trunk.feature_width
    return dataclasses.replace(networks.generator, style_width=width)
