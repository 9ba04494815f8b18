"""Stage 3: expression and the final generator.

Trains E_exp (the expression head on the frozen unified motion feature), the layer that reads the lip code
from a lip or audio feature, the generator G and its discriminator. Frozen: E_app, E_mot's trunk, the lip, eye
and pose heads, E_aud's trunk. G reconstructs the driving frame from appearance | lip (of the audio) |
expression (mean over the window) | eye | pose, so the expression code learns what the other codes do not
carry.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from models.appearance import Appearance
from models.external.vgg19 import VGG19Features
from models.generator import Generator
from models.motion import MotionEncoder
from models.style_vector import StyleVector
from storage.settings import Settings
from training.data.augmentation import WindowAugmentation, augment_window
from training.data.batches import ExpressionWindows
from training.data.frames import to_network_input
from training.data.index import ClipIndex
from training.data.sources import ExpressionWindowSettings, ExpressionWindowSource
from training.engine.progress import HeldOutMetric
from training.engine.settings import DISCRIMINATOR_OPTIMIZER, GENERATOR_OPTIMIZER, OptimizerSettings
from training.losses.adversarial import generator_hinge_loss
from training.losses.consistency import gaze_consistency_loss, lip_consistency_loss
from training.losses.decorrelation import DimensionPairs, Reduction, decorrelation_loss, in_window_mean
from training.losses.distances import mean_absolute_difference
from training.losses.feature_matching import feature_matching_loss
from training.losses.memory_bank import MemoryBank
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
from training.stages.encoders import FrozenEncoders
from training.stages.generator import freeze_noise, start_from_first
from training.stages.held_out_metrics import CorrelationMetric, ReconstructionMetrics
from training.stages.perceptual_networks import PerceptualFeatures, build_perceptual_networks
from training.stages.stage import FrozenNetwork, LossModule, Stage, StageContext, StepResult, real_rows


class ExpressionWeights(Settings):
    """Loss weights. Unverified: λ of vgg, feature_matching and D were found unused in the official code."""

    vgg: float = Field(default=10.0, ge=0, description="Perceptual loss (VGG-19)")
    adversarial: float = Field(default=1.0, ge=0, description="Adversarial loss")
    feature_matching: float = Field(default=10.0, ge=0, description="Feature matching")
    decorrelation: float = Field(default=1.0, ge=0, description="L_decor")
    lip: float = Field(default=1.0, ge=0, description="Lips against audio in L_con")
    gaze: float = Field(default=1.0, ge=0, description="Gaze in L_con")
    phi: float = Field(default=1.0, ge=0, description="φ of L_mot in L_con")
    psi: float = Field(default=1.0, ge=0, description="ψ of L_mot in L_con")
    pixel: float = Field(default=0.0, ge=0, description="L1 of pixels; ours, for short runs")


class ExpressionStageSettings(Settings):
    """Settings of stage 3. Unverified: K, M, all weights and sizes."""

    weights: ExpressionWeights = ExpressionWeights()
    windows: ExpressionWindowSettings = Field(
        default=ExpressionWindowSettings(),
        description="Frames whose mean is the expression code; K of the paper",
    )
    augmentation: WindowAugmentation = WindowAugmentation()
    memory_rows: int = Field(default=4096, ge=1, description="M, rows of each of the two memory banks")
    dimension_pairs: DimensionPairs = "all"
    decorrelation_reduction: Reduction = Field(
        default="mean", description="L_decor: mean or sum over the pairs of dimensions"
    )
    adversary: AdversarySettings = AdversarySettings()
    vgg_layer_weights: tuple[float, float, float, float, float] = PC_AVS_LAYER_WEIGHTS
    # Ours: initialise G from stage 1's G0 (its EMA) wherever the shapes agree, and D from stage 1's D.
    start_from_stage1: bool = True
    gaze_with_blinks: bool = Field(
        default=True, description="Ours: the gaze term also compares perception's blinks"
    )
    optimizer: OptimizerSettings = OptimizerSettings()
    # The released generator uses learned noise. Ours: False keeps the noise strengths at zero.
    generator_noise: bool = True
    generator_optimizer: OptimizerSettings = GENERATOR_OPTIMIZER
    adversary_optimizer: OptimizerSettings = DISCRIMINATOR_OPTIMIZER


class ExpressionModel(LossModule):
    """G and the expression head, with the frozen encoders and the frozen networks of their losses."""

    def __init__(
        self, context: StageContext, settings: ExpressionStageSettings, adversary: Adversary
    ) -> None:
        super().__init__()
        networks, parents = context.networks, context.parents
        self._settings = settings
        self._adversary = (adversary,)  # in a tuple, so that it is not a submodule
        self.side_px = networks.image_side_px
        encoders = FrozenEncoders(context)
        self.encoders = encoders
        motion = MotionEncoder(networks.motion)
        self.expression_head, self.expression_code = motion.to_emo, motion.emo_embed
        # One layer for both features: stage 2 aligned them.
        self.lip_code = motion.mouth_embed
        self.generator = Generator(networks.generator)
        if not settings.generator_noise:
            freeze_noise(self.generator)
        if settings.start_from_stage1:
            start_from_first(self.generator, parents["stage1_motion"], networks)
            parents["stage1_motion"].load_into("discriminator", adversary.network)
        self.perceptual = FrozenNetwork(build_perceptual_networks(context))
        self.vgg = FrozenNetwork(VGG19Features(networks.vgg19, context.pretrained.vgg19))
        self._widths = (networks.motion.expression_width, networks.audio.feature_width)
        self.move_banks(torch.device("cpu"))

    def move_banks(self, device: torch.device) -> None:
        """Create the two memory banks, empty, on a device."""
        expression_width, audio_width = self._widths
        self.expression_bank = MemoryBank(self._settings.memory_rows, expression_width, device)
        self.audio_bank = MemoryBank(self._settings.memory_rows, audio_width, device)

    def expression(self, window: Tensor) -> Tensor:
        """F̄_e [B, 30] of windows [B, K, 3, S, S]: the mean of the frames' codes."""
        rows, frames = window.shape[:2]
        with torch.no_grad():
            motion_feature: Tensor = self.encoders.trunk(window.flatten(0, 1))
        codes: Tensor = self.expression_code(self.expression_head(motion_feature))
        return in_window_mean(codes.unflatten(0, (rows, frames)))

    def reconstruct(
        self, appearance: Tensor, driving: Tensor, expression: Tensor, audio_feature: Tensor
    ) -> Tensor:
        """I_f, the driving frame reconstructed.

        Args:
            appearance: [B, 3, S, S], another frame of the person.
            driving: [B, 3, S, S], the source of the eye and pose codes.
            expression: F̄_e [B, 30].
            audio_feature: F_a [B, 512].

        Returns:
            [B, 3, S, S] in [-1, 1], float32.
        """
        with torch.no_grad():
            encoded: Appearance = self.encoders.appearance(appearance)
            motion_feature = self.encoders.trunk(driving)
            eye, pose = self.encoders.eye(motion_feature), self.encoders.pose(motion_feature)
        lip: Tensor = self.lip_code(audio_feature)
        codes = (encoded.code, lip, expression, eye, pose)
        style = StyleVector(*(code.to(lip.dtype) for code in codes))
        return self.generator(style.to_vector(), encoded.map).float()

    @override
    def part_optimizers(self) -> Mapping[str, OptimizerSettings]:
        return {"generator.": self._settings.generator_optimizer}

    @override
    def forward(self, batch: ExpressionWindows) -> StepResult:
        """The losses of the driving frame reconstructed from all codes."""
        settings, (adversary,) = self._settings, self._adversary
        window = to_network_input(batch.window, self.side_px)
        driving = window[:, window.shape[1] // 2]
        expression = self.expression(augment_window(window, batch.facts.seeds, settings.augmentation))
        with torch.no_grad():
            audio_feature: Tensor = self.encoders.audio(batch.mels)
            target: PerceptualFeatures = self.perceptual(driving)
            target_vgg = self.vgg(driving)
        generated = self.reconstruct(
            to_network_input(batch.appearance, self.side_px), driving, expression, audio_feature
        )
        result: PerceptualFeatures = self.perceptual(generated)
        output_real = no_gradient_scores(adversary.network, driving)
        with frozen_parameters(adversary.network) as network:
            output_generated = network(generated)
        losses = {
            "vgg": perceptual_loss(target_vgg, self.vgg(generated), settings.vgg_layer_weights),
            "adversarial": generator_hinge_loss(scores(output_generated)),
            "feature_matching": feature_matching_loss(features(output_real), features(output_generated)),
            "decorrelation": self._decorrelation(expression, audio_feature),
            "lip": lip_consistency_loss(self.encoders.lip(self.encoders.trunk(generated)), audio_feature),
            "gaze": gaze_consistency_loss(self._gaze(result), self._gaze(target)),
            "phi": feature_distance(target.phi, result.phi),
            "psi": feature_distance(target.psi, result.psi),
            "pixel": mean_absolute_difference(driving, generated),
        }
        return StepResult(losses, real=driving, generated=generated)

    def _decorrelation(self, expression: Tensor, audio_feature: Tensor) -> Tensor:
        """L_decor of the batch and the memory banks; in training, the batch then enters the banks."""
        expression, audio_feature = self.gather_rows(expression), self.gather_rows(audio_feature)
        loss = decorrelation_loss(
            expression,
            audio_feature,
            self.expression_bank.latest(),
            self.audio_bank.latest(),
            self._settings.dimension_pairs,
            self._settings.decorrelation_reduction,
        )
        if self.training:
            self.expression_bank.push(expression)
            self.audio_bank.push(audio_feature)
        return loss

    def _gaze(self, features: PerceptualFeatures) -> Tensor:
        if self._settings.gaze_with_blinks:
            return torch.cat([features.gaze, features.blink], dim=1)
        return features.gaze


class ExpressionStage(Stage[ExpressionWindows]):
    """Stage 3: trains the expression head, the lip code, G and D; starts from all earlier stages."""

    name = "stage3_expression"
    version = "1"
    settings_type = ExpressionStageSettings

    def __init__(self, context: StageContext, settings: ExpressionStageSettings) -> None:
        self.settings = settings
        adversary = Adversary(context.networks.discriminator, settings.adversary)
        self.model = self._model = ExpressionModel(context, settings, adversary)
        self.adversary = adversary
        self.loss_weights = vars(settings.weights) | settings.adversary.weights()
        self.optimizer = settings.optimizer
        self.adversary_optimizer = settings.adversary_optimizer
        self.saved = {
            "motion.to_emo": self._model.expression_head,
            "motion.emo_embed": self._model.expression_code,
            "lip_code": self._model.lip_code,
            "generator": self._model.generator,
            "discriminator": adversary.network,
        }
        self.averaged = ("motion.to_emo", "motion.emo_embed", "lip_code", "generator")

    @override
    def source(self, index: ClipIndex) -> ExpressionWindowSource:
        return ExpressionWindowSource(index, self.settings.windows)

    @override
    def held_out(self, batches: Iterable[ExpressionWindows]) -> list[HeldOutMetric]:
        """PSNR and SSIM against copying the appearance frame; correlation of expression and audio."""
        reconstruction, correlation = ReconstructionMetrics(), CorrelationMetric()
        for batch in batches:
            rows = real_rows(batch)
            appearance = to_network_input(batch.appearance[rows], self._model.side_px)
            generated, driving, expression, audio_feature = self._reconstruct(batch)
            reconstruction.add(generated[rows], driving[rows], appearance)
            correlation.add(expression[rows], audio_feature[rows])
        return [*reconstruction.metrics(), correlation.metric()]

    @override
    def sample_grid(self, batch: ExpressionWindows) -> Tensor:
        """Columns: appearance, driving frame, generated frame."""
        generated, driving, _, _ = self._reconstruct(batch)
        return torch.stack(
            [to_network_input(batch.appearance, self._model.side_px), driving, generated], dim=1
        )

    @override
    def rank_state(self) -> dict[str, Tensor]:
        banks = {"expression": self._model.expression_bank, "audio": self._model.audio_bank}
        return {
            f"{name}.{key}": value for name, bank in banks.items() for key, value in bank.state_dict().items()
        }

    @override
    def load_rank_state(self, state: Mapping[str, Tensor]) -> None:
        for name, bank in (("expression", self._model.expression_bank), ("audio", self._model.audio_bank)):
            prefix = f"{name}."
            bank.load_state_dict(
                {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            )

    @override
    def to(self, device: torch.device) -> None:
        super().to(device)
        self._model.move_banks(device)

    def _reconstruct(self, batch: ExpressionWindows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Generated and driving frames, expression and audio features, without augmentation."""
        model = self._model
        window = to_network_input(batch.window, model.side_px)
        driving = window[:, window.shape[1] // 2]
        expression = model.expression(window)
        audio_feature: Tensor = model.encoders.audio(batch.mels)
        appearance = to_network_input(batch.appearance, model.side_px)
        return (
            model.reconstruct(appearance, driving, expression, audio_feature),
            driving,
            expression,
            audio_feature,
        )


STAGE: Final = ExpressionStage
