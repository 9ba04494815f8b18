"""The networks of stage 3 and its losses: `stage3_expression` trains them."""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from models.appearance import Appearance
from models.external.face_mesh import FaceReading
from models.generator import Generator, Synthesis
from models.motion import MotionEncoder
from models.portrait_warp import Portrait
from models.style_vector import StyleVector
from models.trunks.mesh_trunk import MeshTrunk
from storage.settings import Settings
from training.data.augmentation.pictures import (
    ColourJitter,
    WindowAugmentation,
    augment_window,
    recolour_alike,
)
from training.data.augmentation.sound import SoundAugmentation, augment_sound
from training.data.batches import ExpressionWindows
from training.data.frames import to_network_input
from training.data.sources import ExpressionWindowSettings
from training.engine.settings import DISCRIMINATOR_OPTIMIZER, GENERATOR_OPTIMIZER, OptimizerSettings
from training.losses.codes.consistency import lip_consistency_loss
from training.losses.codes.decorrelation import DimensionPairs, Reduction, decorrelation_loss, in_window_mean
from training.losses.codes.label_readout import label_readout_loss
from training.losses.codes.memory_bank import MemoryBank
from training.stages.codes.code_scale import CodeScale, CodeShares
from training.stages.codes.readouts import EXPRESSION_SCALES_CM
from training.stages.encoders import FrozenEncoders, never_compiled
from training.stages.mixed_rows import EncodedRows, MixedRowLosses
from training.stages.pictures.adversary import Adversary, AdversarySettings
from training.stages.pictures.flow_fit import FlowFitSettings
from training.stages.pictures.generator import (
    freeze_noise,
    generator_optimizers,
    start_from_first,
)
from training.stages.pictures.picture_losses import PictureLosses, PictureSettings, PictureWeights
from training.stages.stage import (
    LossModule,
    StageContext,
    StepResult,
)


class ExpressionWeights(PictureWeights):
    """Loss weights of stage 3. Unverified, as those of stage 1."""

    decorrelation: float = Field(default=1.0, ge=0, description="L_decor")
    lip: float = Field(default=1.0, ge=0, description="Lips against audio in L_con")
    gaze: float = Field(default=1.0, ge=0, description="Gaze in L_con")
    lids: float = Field(default=1.0, ge=0, description="Lid opening beside L_con's gaze; ours")
    controls: float = Field(
        default=0.0,
        ge=0,
        description="Control consistency: pose and eyes of two other rows, every control read in the picture "
        "by the face mesh and compared with its driver; ours, off in the paper's method",
    )
    expression_readout: float = Field(
        default=0.0,
        ge=0,
        description="Label readout: the expression code's first two dimensions follow smile and brows "
        "within a window; ours, off in the paper's method",
    )
    codes: float = Field(
        default=0.0,
        ge=0,
        description="The same pictures encoded again: pose, eye and lip codes of their drivers; ours",
    )


class ExpressionStageSettings(Settings):
    """Settings of stage 3. Unverified: K, M, all weights and sizes."""

    weights: ExpressionWeights = ExpressionWeights()
    windows: ExpressionWindowSettings = Field(
        default=ExpressionWindowSettings(),
        description="Frames whose mean is the expression code; K of the paper",
    )
    augmentation: WindowAugmentation = WindowAugmentation()
    recolour: ColourJitter | None = Field(
        default=None,
        description="Changes the colour of a row's appearance and driving frame alike: skins and lights that "
        "no person of the data has; ours. None: no change",
    )
    sound_augmentation: SoundAugmentation | None = Field(
        default=None, description="Changes the sound of the rows, as in the lip stage; ours. None: no change"
    )
    memory_rows: int = Field(default=4096, ge=1, description="M, rows of each of the two memory banks")
    dimension_pairs: DimensionPairs = "all"
    decorrelation_reduction: Reduction = Field(
        default="mean", description="L_decor: mean or sum over the pairs of dimensions"
    )
    adversary: AdversarySettings = AdversarySettings()
    pictures: PictureSettings = PictureSettings()
    mixed_rows: int = Field(
        default=2, ge=1, description="Rows of a batch whose pictures `controls` and `codes` compare"
    )
    code_shares: CodeShares = CodeShares()
    cache_features: bool = Field(
        default=False,
        description="Compute the frozen trunk's features once instead of at every step; the frames of the "
        "expression window are then not augmented",
    )
    # Ours: initialise G from stage 1's G0 (its EMA) wherever the shapes agree, and D from stage 1's D.
    start_from_stage1: bool = True
    # Ours: G's columns of the motion codes start with what the codes tell of the unified motion feature.
    start_from_motion_feature: bool = True
    measure_codes: bool = Field(
        default=True,
        description="Measure the codes' factors before the first step; off: they come with initial weights",
    )
    optimizer: OptimizerSettings = OptimizerSettings()
    # The released generator uses learned noise. Ours: False keeps the noise strengths at zero.
    generator_noise: bool = True
    generator_optimizer: OptimizerSettings = GENERATOR_OPTIMIZER
    flow_fit: FlowFitSettings = FlowFitSettings()
    adversary_optimizer: OptimizerSettings = DISCRIMINATOR_OPTIMIZER


class ExpressionModel(LossModule):
    """G and the expression head, with the frozen encoders and the frozen networks of their losses."""

    def __init__(
        self, context: StageContext, settings: ExpressionStageSettings, adversary: Adversary
    ) -> None:
        super().__init__()
        networks, parents = context.networks, context.parents
        self._settings = settings
        self.side_px = networks.image_side_px
        self.motion_side_px = networks.motion.trunk.image_side_px
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
            if settings.weights.use_adversary and parents["stage1_motion"].has("discriminator"):
                parents["stage1_motion"].load_into("discriminator", adversary.network)
        self.code_scale = CodeScale()
        self.picture_losses = PictureLosses(context, settings.weights, settings.pictures, adversary)
        self.mixed = MixedRowLosses(
            encoders,
            settings.mixed_rows,
            controls=settings.weights.controls > 0,
            codes=settings.weights.codes > 0,
        )
        self._widths = (networks.motion.expression_width, networks.audio.feature_width)
        self.move_banks(torch.device("cpu"))

    def move_banks(self, device: torch.device) -> None:
        """Create the two memory banks, empty, on a device."""
        expression_width, audio_width = self._widths
        self.expression_bank = MemoryBank(self._settings.memory_rows, expression_width, device)
        self.audio_bank = MemoryBank(self._settings.memory_rows, audio_width, device)

    def expression(self, features: Tensor) -> Tensor:
        """F̄_e [B, 30] of the motion features [B, K, D] of windows: the mean of the frames' codes."""
        return in_window_mean(self.frame_expressions(features))

    def frame_expressions(self, features: Tensor) -> Tensor:
        """F_e [B, K, 30] of the motion features [B, K, D] of windows."""
        codes: Tensor = self.expression_code(self.expression_head(features.flatten(0, 1)))
        return codes.unflatten(0, features.shape[:2])

    def window_features(self, batch: ExpressionWindows, *, augmented: bool) -> Tensor:
        """The trunk's features [B, K, D] of the windows, cached or computed."""
        if batch.features is not None:
            return batch.features[:, 1:]
        window = to_network_input(batch.window, self.motion_side_px)
        if augmented:
            window = augment_window(window, batch.facts.seeds, self._settings.augmentation)
        with torch.no_grad():
            return self.encoders.trunk(window.flatten(0, 1)).unflatten(0, window.shape[:2])

    def style(
        self, appearance_code: Tensor, feature: Tensor, expression: Tensor, audio_feature: Tensor
    ) -> StyleVector:
        """The style vector, scaled.

        Args:
            appearance_code: [B, 2048].
            feature: the unified motion feature [B, 512] of the driving frame, the source of the eye and pose
                codes.
            expression: F̄_e [B, 30].
            audio_feature: F_a [B, 512].
        """
        with torch.no_grad():
            eye, pose = self.encoders.eye(feature), self.encoders.pose(feature)
        lip: Tensor = self.lip_code(audio_feature)
        codes = (appearance_code, lip, expression, eye, pose)
        return self.code_scale(StyleVector(*(code.to(lip.dtype) for code in codes)))

    def encode(self, batch: ExpressionWindows, *, augmented: bool = False) -> EncodedRows:
        """What the generator gets, from a batch; only the expression and the lip code have gradients."""
        appearance_image = to_network_input(batch.appearance, self.side_px)
        driving = to_network_input(batch.driving, self.side_px)
        recolour = self._settings.recolour
        if augmented and recolour is not None:
            both = torch.stack([appearance_image, driving], dim=1)
            appearance_image, driving = recolour_alike(both, batch.facts.seeds, recolour).unbind(dim=1)
        frame_codes = self.frame_expressions(self.window_features(batch, augmented=augmented))
        expression = in_window_mean(frame_codes)
        with torch.no_grad():
            appearance: Appearance = self.encoders.appearance(appearance_image)
            audio_feature: Tensor = self.encoders.audio(self._mels(batch, augmented=augmented))
            if batch.features is None:
                frames = torch.cat([batch.appearance, batch.driving])
                own, feature = self.encoders.trunk(to_network_input(frames, self.motion_side_px)).chunk(2)
            else:
                own, feature = batch.features[:, 0], batch.features[:, 1 + (batch.features.shape[1] - 1) // 2]
        style = self.style(appearance.code, feature, expression, audio_feature)
        portrait = Portrait(appearance_image, own)
        return EncodedRows(
            style, appearance.map, portrait, driving, feature, expression, audio_feature, frame_codes
        )

    @never_compiled
    def _mels(self, batch: ExpressionWindows, *, augmented: bool) -> Tensor:
        change = self._settings.sound_augmentation
        return augment_sound(batch.mels, batch.facts.seeds, change) if augmented and change else batch.mels

    def generate(self, rows: EncodedRows) -> Synthesis:
        """I_f, the driving frames reconstructed."""
        return self.generator.synthesise(rows.style.to_vector(), rows.appearance_map, portrait=rows.portrait)

    @override
    def part_optimizers(self) -> Mapping[str, OptimizerSettings]:
        return generator_optimizers(self.generator, self._settings.generator_optimizer)

    @override
    def forward(self, batch: ExpressionWindows) -> StepResult:
        """The losses of the driving frame reconstructed from all codes."""
        rows = self.encode(batch, augmented=True)
        synthesis = self.generate(rows)
        generated = synthesis.image.float()
        lip, reading = self._read_lips(generated)
        losses = dict(self.picture_losses(synthesis, rows.driving, batch, reading))
        if self._settings.weights.decorrelation:
            losses["decorrelation"] = self._decorrelation(rows.expression, rows.audio_feature)
        if lip is not None:
            losses["lip"] = lip_consistency_loss(lip, rows.audio_feature[: len(lip)])
        losses |= self.mixed(rows, lambda mixed: self.generate(mixed).image)
        if self._settings.weights.expression_readout:
            assert batch.expression_labels is not None
            # As G gets them: unscaled, codes of the labels' size would be many times what their share is.
            factor = self.code_scale.factor("expression")
            codes = factor * rows.frame_expressions[..., : len(EXPRESSION_SCALES_CM)]
            losses["expression_readout"] = label_readout_loss(
                codes, batch.expression_labels, EXPRESSION_SCALES_CM
            )
        return StepResult(losses, real=rows.driving, generated=generated)

    def _read_lips(self, generated: Tensor) -> tuple[Tensor | None, FaceReading | None]:
        """Lip features of the first generated pictures, and the mesh's reading if it serves the losses too.

        Where trunk and face reader are the same networks, they read each picture once: with a small
        generator, reading costs more than generating.
        """
        if not self._settings.weights.lip:
            return None, None
        image = generated[: self._settings.pictures.face_rows or len(generated)]
        trunk, mesh = self.encoders.trunk.network, self.picture_losses.mesh
        if mesh is None or not isinstance(trunk, MeshTrunk):
            return self.encoders.lip(trunk(image)), None
        reading: FaceReading = mesh(image)
        return self.encoders.lip(trunk.feature(reading)), reading

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
