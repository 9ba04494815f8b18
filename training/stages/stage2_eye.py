"""Stage 2, eye: an anchor with v1's eyes in v2's face must be closer to v1 than to v2 (PD-FGC).

Trains the eye head and its code on stage 1's frozen motion feature. The loss does not determine which
directions of the code are gaze and which are blinks: `finish` measures that.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from training.data.batches import EyeAnchors, LabelledFrames
from training.data.eye_anchors import EyeAnchorReading, EyeAnchorSource
from training.data.frame_features import FrameFeatures, compute_stage_features
from training.data.index import ClipIndex
from training.data.loader import BatchStream, LoaderSettings, single_pass
from training.data.shard_reader import ReaderSettings, ShardReader
from training.data.sources import LabelledFrameSource
from training.engine.progress import HeldOutMetric
from training.engine.settings import OptimizerSettings
from training.losses.codes.contrastive import FORMULA_TEMPERATURE
from training.losses.codes.eye_contrastive import eye_contrastive_loss
from training.losses.codes.label_readout import label_readout_loss
from training.losses.distances import cosine_similarity
from training.stage_catalog import EYE_AXES_PART
from training.stages.codes.eye_axes import EyeAxes, eye_labels
from training.stages.codes.readouts import EYE_DIMENSIONS, EYE_SCALES
from training.stages.encoders import CachedTrunkSettings, MotionFeature, motion_encoder_on_stage1
from training.stages.stage import LossModule, Stage, StageContext, StepResult, real_rows

TIE: Final = 1e-6
"""Similarities that differ by less count as equal. Ours: about ten times the rounding of a float32 cosine."""
AXES_FRAMES: Final = 512
"""Frames on which the eye axes are fitted. Ours: one or two seconds with preset tiny_cpu on a CPU."""

ANCHORS_AT_ONCE: Final = 32  # when their features are cached

logger = logging.getLogger(__name__)


class EyeStageSettings(CachedTrunkSettings):
    """Settings of the eye stage.

    temperature: τ. The formula has none, which means 1.0; unverified whether training used a smaller one.
    augmentation: of v1, v2 and v_a, drawn independently.
    """

    temperature: float = Field(default=FORMULA_TEMPERATURE, gt=0)
    readout: float = Field(
        default=0.0,
        ge=0,
        description="Loss weight of the label readout: dimensions 0 and 1 of the code follow the blinks, "
        "2 and 3 gaze pitch and yaw, as in the released network; ours, off in the paper's method",
    )
    readout_frames: int = Field(default=4, ge=2, description="Frames of a clip that the readout compares")
    optimizer: OptimizerSettings = OptimizerSettings()


@dataclass(frozen=True)
class EyeCodes:
    """Eye codes of v1, v2 and v_a, [B, 6] each."""

    f_1: Tensor
    f_2: Tensor
    f_a: Tensor


class EyeModel(LossModule):
    """The eye head and its loss.

    The loss compares the six-dimensional codes that the generator receives and stage 3 freezes. Comparing the
    head's wider features would leave `eye_embed` untrained. Unverified: which of them the paper compares.
    """

    def __init__(self, context: StageContext, settings: EyeStageSettings) -> None:
        super().__init__()
        motion = motion_encoder_on_stage1(context)
        self.settings = settings
        self.motion_feature = MotionFeature(motion, settings.augmentation)
        self.to_eye = motion.to_eye
        self.eye_embed = motion.eye_embed

    def codes(self, batch: EyeAnchors) -> EyeCodes:
        """All three in one pass, so that they share the statistics of batch normalisation."""
        feature = batch.features
        if feature is None:
            frames = torch.stack([batch.eyes, batch.base, batch.anchor], dim=1)
            feature = self.motion_feature(frames, batch.facts)
        codes = self.eye_embed(self.to_eye(feature.flatten(0, 1)))
        f_1, f_2, f_a = codes.unflatten(0, feature.shape[:2]).unbind(dim=1)
        return EyeCodes(f_1, f_2, f_a)

    def code(self, batch: LabelledFrames) -> Tensor:
        """Codes [B, 6] of single frames."""
        feature = self.motion_feature(batch.frames[:, None], batch.facts)[:, 0]
        return self.eye_embed(self.to_eye(feature))

    @override
    def forward(self, batch: EyeAnchors) -> StepResult:
        """L_eye, and the readout where it has a weight."""
        codes = self.codes(batch)
        temperature = self.settings.temperature
        losses = {"eye": eye_contrastive_loss(codes.f_1, codes.f_2, codes.f_a, temperature=temperature)}
        if self.settings.readout:
            losses["readout"] = self._readout(batch)
        return StepResult(losses)

    def _readout(self, batch: EyeAnchors) -> Tensor:
        assert batch.labelled is not None
        assert batch.eye_labels is not None
        cached = batch.labelled.dim() == 3
        feature = batch.labelled if cached else self.motion_feature(batch.labelled, batch.facts)
        codes = self.eye_embed(self.to_eye(feature.flatten(0, 1))).unflatten(0, feature.shape[:2])
        return label_readout_loss(codes[..., list(EYE_DIMENSIONS)], batch.eye_labels, EYE_SCALES)


class EyeStage(Stage[EyeAnchors]):
    """Stage 2, eye: trains the eye head; starts from stage 1's trunk, frozen."""

    name = "stage2_eye"
    version = "2"
    settings_type = EyeStageSettings

    def __init__(self, context: StageContext, settings: EyeStageSettings) -> None:
        self.settings = settings
        self.model = self.eye_model = EyeModel(context, settings)
        self.loss_weights = {"eye": 1.0} | ({"readout": settings.readout} if settings.readout else {})
        self.optimizer = settings.optimizer
        self._frame_features: dict[str, FrameFeatures] = {}  # for the readout, where they are cached
        self._features: dict[str, Tensor] = {}  # of the anchors of each split, where they are cached
        self.axes = EyeAxes(context.networks.motion.eye_width)
        self.saved = {
            "motion.to_eye": self.eye_model.to_eye,
            "motion.eye_embed": self.eye_model.eye_embed,
            EYE_AXES_PART: self.axes,
        }

    @override
    def source(self, index: ClipIndex) -> EyeAnchorSource:
        """The split's anchors."""
        settings = self.settings
        reading = EyeAnchorReading(labelled_frames=settings.readout_frames if settings.readout else 0)
        source = EyeAnchorSource(index, ShardReader(index, ReaderSettings()), reading)
        if settings.cache_features:
            source.frame_features = self._frame_features.get(index.split)
            if index.split not in self._features:
                self._features[index.split] = self._anchor_features(source)
            source.features = self._features[index.split]
        return source

    @override
    def prepare(self, indexes: Sequence[ClipIndex], settings: LoaderSettings) -> None:
        if self.settings.cache_features and self.settings.readout:
            motion = self.eye_model.motion_feature
            self._frame_features = compute_stage_features(
                indexes, motion.trunk.network, motion.side_px, settings.workers
            )

    @torch.no_grad()
    def _anchor_features(self, source: EyeAnchorSource) -> Tensor:
        """The trunk's features [A, 3, D] of every anchor's images."""
        motion_feature = self.eye_model.motion_feature
        device, rows = next(self.eye_model.eye_embed.parameters()).device, list[Tensor]()
        settings = LoaderSettings(batch_size=min(ANCHORS_AT_ONCE, len(source.clips)), workers=0)
        for batch in single_pass(
            EyeAnchorSource(source.index, ShardReader(source.index, ReaderSettings())), settings
        ):
            frames = torch.stack([batch.eyes, batch.base, batch.anchor], dim=1).to(device)
            rows.append(motion_feature(frames, batch.facts)[real_rows(batch)].cpu())
        return torch.cat(rows)

    @override
    def finish(self, index: ClipIndex, settings: LoaderSettings) -> None:
        """Fit the eye axes to labelled frames, each clip with equal probability."""
        alone = settings.replace(workers=0, pin_memory=False)
        device = next(self.eye_model.eye_embed.parameters()).device
        codes, labels, rows = list[Tensor](), list[Tensor](), 0
        for batch in BatchStream(LabelledFrameSource(index), alone):
            codes.append(self.eye_model.code(batch.to(device)).cpu())
            labels.append(eye_labels(batch))
            rows += len(batch)
            if rows >= AXES_FRAMES:
                break
        code, label = torch.cat(codes)[:AXES_FRAMES], torch.cat(labels)[:AXES_FRAMES]
        self.axes.fit(code, label)
        shares = self.axes.shares(code, label)
        logger.info(
            "Fitted eye axes on %d training frames. Variance explained by gaze %.0f%%, by blinks %.0f%%, "
            "by neither %.0f%%",
            *(AXES_FRAMES, 100 * shares.gaze, 100 * shares.blink, 100 * shares.rest),
        )

    @override
    def held_out(self, batches: Iterable[EyeAnchors]) -> list[HeldOutMetric]:
        """The share of anchors whose code is closer to v1, whose eyes they show, than to v2.

        A tie counts as wrong: an encoder with constant output scores 0.

        Raises:
            ValueError: no row counts.
        """
        correct = list[bool]()
        for batch in batches:
            codes = self.eye_model.codes(batch)
            both = torch.stack([codes.f_1, codes.f_2], dim=1)
            to_eyes, to_face = cosine_similarity(codes.f_a[:, None], both).unbind(dim=1)
            closer = (to_eyes > to_face + TIE).tolist()
            correct += [closer[row] for row in real_rows(batch)]
        if not correct:
            raise ValueError("the held-out batches have no real row")
        return [
            HeldOutMetric(
                name="eye contrast accuracy",
                value=sum(correct) / len(correct),
                chance=0.5,
                higher_is_better=True,
                rows=len(correct),
            )
        ]


STAGE: Final = EyeStage
