"""Stage 1: appearance and unified motion, by reconstructing a driving frame of the same clip.

Trains E_app, the trunk of E_mot, G0 and a discriminator. G0's style is the appearance code concatenated with
the unified motion feature; the four heads of E_mot are not used yet.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from models.appearance import Appearance, AppearanceEncoder
from models.checkpoint_file import load_checkpoint
from models.generator import Generator, Synthesis
from models.perception import PerceptionNetwork
from models.portrait_warp import Portrait
from models.trunks.mesh_trunk import MeshTrunk, build_trunk
from models.trunks.residual_trunk import RESNEXT50_FILE
from storage.settings import Settings
from training.data.augmentation.pictures import MotionAugmentation, augment_motion
from training.data.batches import ClipPairs
from training.data.frame_features import FrameFeatures, compute_stage_features
from training.data.frames import to_network_input
from training.data.index import ClipIndex
from training.data.loader import LoaderSettings, first_batches
from training.data.sources import ClipPairSettings, ClipPairSource
from training.engine.progress import HeldOutMetric
from training.engine.settings import DISCRIMINATOR_OPTIMIZER, GENERATOR_OPTIMIZER, OptimizerSettings
from training.losses.pictures.identity import identity_loss
from training.stages.held_out_metrics import ReconstructionMetrics
from training.stages.pictures.adversary import Adversary, AdversarySettings
from training.stages.pictures.flow_fit import FlowFitSettings, fit_flow, flow_rows
from training.stages.pictures.generator import first_generator_config, freeze_noise, generator_optimizers
from training.stages.pictures.picture_losses import PictureLosses, PictureSettings, PictureWeights
from training.stages.stage import LossModule, Stage, StageContext, StepResult, real_rows

MEASURED_FRAMES: Final = 1024
"""Rows by which the features that the flow is computed from are standardised; ours."""


class MotionWeights(PictureWeights):
    """Loss weights of stage 1."""

    identity: float = Field(
        default=0.0,
        ge=0,
        description="Cross entropy over the training identities, of the appearance code. Unverified: the "
        "official code's left-over configuration has it, with 5995 classes and an unknown weight",
    )


class MotionStageSettings(Settings):
    """Settings of stage 1. Unverified: everything but the form of the losses."""

    weights: MotionWeights = MotionWeights()
    pairs: ClipPairSettings = ClipPairSettings()
    augmentation: MotionAugmentation = MotionAugmentation()
    adversary: AdversarySettings = AdversarySettings()
    pictures: PictureSettings = PictureSettings()
    # Ours: initialise E_mot's trunk, whose layout is a face alignment network's, from perception's trunk.
    # Unverified whether the paper started from a published alignment network.
    start_trunk_from_perception: bool = False
    optimizer: OptimizerSettings = OptimizerSettings()
    # The released generator uses learned noise. Ours: False keeps the noise strengths at zero.
    generator_noise: bool = True
    generator_optimizer: OptimizerSettings = GENERATOR_OPTIMIZER
    # Ours: below 1, a trunk that encodes eyes and lips keeps doing so; reconstruction hardly rewards it. 0
    # freezes it.
    trunk_rate_factor: float = Field(default=1.0, ge=0)
    cache_features: bool = Field(
        default=False,
        description="Compute the frozen trunk's features once instead of at every step; its input is then "
        "not augmented",
    )
    flow_fit: FlowFitSettings = FlowFitSettings()
    adversary_optimizer: OptimizerSettings = DISCRIMINATOR_OPTIMIZER

    @model_validator(mode="after")
    def _check_cache(self) -> "MotionStageSettings":
        if self.cache_features and self.trunk_rate_factor:
            raise ValueError(
                f"cache_features needs trunk_rate_factor 0 (a frozen trunk), got {self.trunk_rate_factor}"
            )
        return self


class MotionModel(LossModule):
    """E_app, the trunk of E_mot and G0, with the frozen networks of their losses."""

    def __init__(self, context: StageContext, settings: MotionStageSettings, adversary: Adversary) -> None:
        super().__init__()
        networks = context.networks
        self._settings = settings
        self.appearance = AppearanceEncoder(networks.appearance)
        if context.pretrained.appearance is not None:
            load_checkpoint(self.appearance.model, context.pretrained.appearance, RESNEXT50_FILE)
        self.motion = build_trunk(networks.motion.trunk)
        if settings.start_trunk_from_perception:
            perception = PerceptionNetwork(networks.perception)
            context.parents["perception"].load_into("perception", perception)
            self.motion.load_state_dict(perception.trunk.state_dict())
        elif isinstance(self.motion, MeshTrunk):
            raise ValueError(
                "a mesh trunk needs start_trunk_from_perception: `perception` measures its features' scale"
            )
        self.generator = Generator(first_generator_config(networks))
        if not settings.generator_noise:
            freeze_noise(self.generator)
        self.picture_losses = PictureLosses(context, settings.weights, settings.pictures, adversary)
        self.classifier: nn.Linear | None = None
        self.side_px = networks.image_side_px
        self.motion_side_px = networks.motion.trunk.image_side_px
        self._trunk_frozen = settings.trunk_rate_factor == 0
        if self._trunk_frozen:
            self.motion.requires_grad_(requires_grad=False)

    @override
    def train(self, mode: bool = True) -> "MotionModel":
        """A frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self._trunk_frozen:
            self.motion.eval()
        return self

    def add_classifier(self, identities: int) -> nn.Linear:
        """Build the identity loss's linear classifier of appearance codes."""
        width = self.appearance.config.trunk.output_channels
        self.classifier = nn.Linear(width, identities).to(next(self.parameters()).device)
        return self.classifier

    def features(self, batch: ClipPairs, *, augmented: bool = True) -> Tensor:
        """The trunk's features [B, 2, D] of the appearance and the driving frame, which is augmented."""
        if batch.features is not None:
            return batch.features
        frames = torch.stack([batch.appearance, batch.driving], dim=1)
        appearance, driving = to_network_input(frames, self.motion_side_px).unbind(dim=1)
        if augmented:
            driving = augment_motion(driving, batch.facts.seeds, self._settings.augmentation)
        return torch.stack(self.motion(torch.cat([appearance, driving])).chunk(2), dim=1)

    def reconstruct(
        self, appearance: Tensor, motion_feature: Tensor, appearance_feature: Tensor
    ) -> Synthesis:
        """The driving frame reconstructed.

        Args:
            appearance: [B, 3, S, S], another frame of the person.
            motion_feature: the unified motion feature [B, D] of the driving frame.
            appearance_feature: that of the appearance frame.
        """
        return self.generate(
            self.appearance(appearance), Portrait(appearance, appearance_feature), motion_feature
        )

    def generate(self, encoded: Appearance, portrait: Portrait, motion_feature: Tensor) -> Synthesis:
        """The same from the encoded appearance of the portrait."""
        style = torch.cat([encoded.code, motion_feature], dim=1)
        return self.generator.synthesise(style, encoded.map, portrait=portrait)

    def reconstruct_batch(
        self, batch: ClipPairs, appearance: Tensor, *, augmented: bool = False
    ) -> Synthesis:
        """The driving frames of a batch reconstructed from its appearance frames [B, 3, S, S]."""
        own, feature = self.features(batch, augmented=augmented).unbind(dim=1)
        return self.reconstruct(appearance, feature, own)

    @override
    def part_optimizers(self) -> Mapping[str, OptimizerSettings]:
        settings, trunk = self._settings, self._settings.optimizer
        parts = generator_optimizers(self.generator, settings.generator_optimizer)
        if not self._trunk_frozen:
            rate = trunk.learning_rate * settings.trunk_rate_factor
            parts["motion."] = trunk.replace(learning_rate=rate)
        return parts

    @override
    def forward(self, batch: ClipPairs) -> StepResult:
        """The losses of the driving frame reconstructed from an augmented view of it."""
        driving = to_network_input(batch.driving, self.side_px)
        appearance = to_network_input(batch.appearance, self.side_px)
        own, feature = self.features(batch).unbind(dim=1)
        encoded: Appearance = self.appearance(appearance)
        synthesis = self.generate(encoded, Portrait(appearance, own), feature)
        losses = dict(self.picture_losses(synthesis, driving, batch))
        if self._settings.weights.identity:
            assert self.classifier is not None  # built by the stage's `prepare`
            losses["identity"] = identity_loss(self.classifier(encoded.code), batch.identity)
        return StepResult(losses, real=driving, generated=synthesis.image.float())


class MotionStage(Stage[ClipPairs]):
    """Stage 1: trains all of `MotionModel` but the loss networks; starts from perception."""

    name = "stage1_motion"
    version = "3"
    settings_type = MotionStageSettings
    sample_columns = ("portrait", "driver", "augmented", "generated")

    def __init__(self, context: StageContext, settings: MotionStageSettings) -> None:
        self.settings = settings
        adversary = Adversary(context.networks.discriminator, settings.adversary)
        self.model = self._model = MotionModel(context, settings, adversary)
        self.adversary = adversary if settings.weights.use_adversary else None
        self.loss_weights = vars(settings.weights) | settings.adversary.weights()
        self.optimizer = settings.optimizer
        self.adversary_optimizer = settings.adversary_optimizer
        saved: dict[str, nn.Module] = {
            "appearance": self._model.appearance,
            "motion.model": self._model.motion,
            "generator": self._model.generator,
        }
        if self.adversary is not None:
            saved["discriminator"] = self.adversary.network
        self.saved = self._saved = saved
        self.averaged = ("appearance", "motion.model", "generator")
        self._features: dict[str, FrameFeatures] = {}

    @override
    def prepare(self, indexes: Sequence[ClipIndex], settings: LoaderSettings) -> None:
        """Cache the trunk's features, standardise those that the flow is computed from; the classifier.

        The identity loss's classifier has as many classes as the training split has people, which only the
        data set tells. It is saved with the checkpoint, as a part of its own.
        """
        model = self._model
        if self.settings.weights.identity:
            self._saved["classifier"] = model.add_classifier(len(indexes[0].training_identities))
        if self.settings.cache_features:
            self._features = compute_stage_features(
                indexes, model.motion, model.motion_side_px, settings.workers
            )
        if model.generator.config.appearance_path == "warp":
            self._start_flow(indexes[0], settings)

    def _start_flow(self, index: ClipIndex, settings: LoaderSettings) -> None:
        """Standardise the features that the flow is computed from, and fit it to landmarks."""
        model = self._model
        flow, device = model.generator.coarse_flow, next(model.parameters()).device
        keys, rows = list[str](), list[tuple[Tensor, Tensor, Tensor]]()
        for batch in first_batches(self.source(index), settings, MEASURED_FRAMES):
            moved = batch.to(device)
            keys += batch.facts.keys
            rows.append((model.features(moved), moved.appearance_landmarks_px, moved.landmarks_px))
        features, appearance_px, driving_px = (torch.cat(part) for part in zip(*rows, strict=True))
        for part in (flow.motion, flow.portrait):
            part.measure(features.flatten(0, 1), to_unit_variance=True)
        portraits, motion = features.transpose(0, 1).flatten(0, 1), {"feature": features[:, 1]}
        fit_flow(
            flow,
            flow_rows(index, keys, (appearance_px, driving_px), motion, portraits),
            self.settings.flow_fit,
        )

    @override
    def source(self, index: ClipIndex) -> ClipPairSource:
        return ClipPairSource(index, self.settings.pairs, self._features.get(index.split))

    @override
    def held_out(self, batches: Iterable[ClipPairs]) -> list[HeldOutMetric]:
        """PSNR and SSIM of the reconstructed frame, against copying the appearance frame."""
        reconstruction = ReconstructionMetrics()
        for batch in batches:
            rows = real_rows(batch)
            appearance = to_network_input(batch.appearance, self._model.side_px)
            driving = to_network_input(batch.driving[rows], self._model.side_px)
            generated = self._model.reconstruct_batch(batch, appearance).image.float()
            reconstruction.add(generated[rows], driving, appearance[rows])
        return reconstruction.metrics()

    @override
    def sample_grid(self, batch: ClipPairs) -> Tensor:
        """The columns are `sample_columns`; the third is the augmented view of the driving frame."""
        appearance = to_network_input(batch.appearance, self._model.side_px)
        driving = to_network_input(batch.driving, self._model.side_px)
        augmented = driving
        if not self.settings.cache_features:
            augmented = augment_motion(driving, batch.facts.seeds, self.settings.augmentation)
        generated = self._model.reconstruct_batch(batch, appearance, augmented=True).image.float()
        return torch.stack([appearance, driving, augmented, generated], dim=1)


STAGE: Final = MotionStage
