"""Stage 2, eye: an anchor with the first frame's eyes in the second frame's face is like the first (PD-FGC).

Trains the eye head and its code on stage 1's frozen motion feature. The loss leaves open which directions of
the code are gaze and which are blinks: that is measured at the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from storage.settings import Settings
from training.data.augmentation import MotionAugmentation
from training.data.batches import EyeAnchors, LabelledFrames
from training.data.eye_anchors import EyeAnchorSource
from training.data.index import ClipIndex
from training.data.loader import BatchStream, LoaderSettings
from training.data.shard_reader import ReaderSettings, ShardReader
from training.data.sources import LabelledFrameSource
from training.engine.settings import OptimiserSettings
from training.losses.contrastive import FORMULA_TEMPERATURE
from training.losses.distances import cosine_similarity
from training.losses.eye_contrastive import eye_contrastive_loss
from training.stage_catalog import EYE_AXES_PART
from training.stages.eye_axes import EyeAxes, eye_labels
from training.stages.motion_feature import MotionFeature, motion_encoder_on_stage1
from training.stages.stage import Figure, Player, Stage, StageContext, StepResult, real_rows

TIE = 1e-6
"""Similarities that differ by less are alike. Ours: some ten times the rounding of a float32 cosine."""
AXES_FRAMES: Final = 512
"""Frames that gaze and blinks are found in. Ours: a second or two at the tiny preset on a CPU."""


class EyeSettings(Settings):
    """How the eye stage trains.

    temperature: τ. The formula prints none, which is 1.0; unverified whether training divided by less.
    augmentation: of v1, v2 and v_a, each by a draw of its own. The paper tells of it for stage 1's motion
        branch alone; unverified for stage 2. None: frames as they are.
    """

    temperature: float = Field(default=FORMULA_TEMPERATURE, gt=0)
    augmentation: MotionAugmentation | None = None
    optimiser: OptimiserSettings = OptimiserSettings()


@dataclass(frozen=True)
class EyeCodes:
    """Eye codes of v1, v2 and v_a, [B, 6] each."""

    f_1: Tensor
    f_2: Tensor
    f_a: Tensor


class EyePlayer(Player):
    """The eye head and its loss.

    The contrast is between codes, the six numbers that the generator gets and that stage 3 freezes. One
    between the head's wide features would leave `eye_embed` untrained. Unverified: where the paper has it.
    """

    def __init__(self, context: StageContext, settings: EyeSettings) -> None:
        super().__init__()
        motion = motion_encoder_on_stage1(context)
        self.settings = settings
        self.motion_feature = MotionFeature(motion, settings.augmentation)
        self.to_eye = motion.to_eye
        self.eye_embed = motion.eye_embed

    def codes(self, batch: EyeAnchors) -> EyeCodes:
        """All three in one pass, so that batch normalisation cannot tell them apart."""
        frames = torch.stack([batch.eyes, batch.base, batch.anchor], dim=1)
        feature = self.motion_feature(frames, batch.facts).flatten(0, 1)
        f_1, f_2, f_a = self.eye_embed(self.to_eye(feature)).unflatten(0, frames.shape[:2]).unbind(dim=1)
        return EyeCodes(f_1, f_2, f_a)

    def code(self, batch: LabelledFrames) -> Tensor:
        """Codes [B, 6] of single frames."""
        feature = self.motion_feature(batch.frames[:, None], batch.facts)[:, 0]
        return self.eye_embed(self.to_eye(feature))

    @override
    def forward(self, batch: EyeAnchors) -> StepResult:
        """L_eye of a batch."""
        codes = self.codes(batch)
        temperature = self.settings.temperature
        return StepResult(
            {"eye": eye_contrastive_loss(codes.f_1, codes.f_2, codes.f_a, temperature=temperature)}
        )


class EyeStage(Stage[EyeAnchors]):
    """Stage 2, eye."""

    name = "stage2_eye"
    version = "2"
    settings_type = EyeSettings

    def __init__(self, context: StageContext, settings: EyeSettings) -> None:
        self.settings = settings
        self.player = EyePlayer(context, settings)
        self.model = self.player
        self.adversary = None
        self.loss_weights = {"eye": 1.0}
        self.optimiser = settings.optimiser
        self.adversary_optimiser = None
        self.axes = EyeAxes(context.networks.motion.eye_width)
        self.saved = {
            "motion.to_eye": self.player.to_eye,
            "motion.eye_embed": self.player.eye_embed,
            EYE_AXES_PART: self.axes,
        }
        self.averaged = ()

    @override
    def source(self, index: ClipIndex) -> EyeAnchorSource:
        """The split's anchors."""
        return EyeAnchorSource(index, ShardReader(index, ReaderSettings()))

    @override
    def finish(self, index: ClipIndex, settings: LoaderSettings) -> str:
        """Fit the axes to labelled frames of the clips, each clip as likely."""
        alone = settings.replace(workers=0, pin_memory=False)
        device = next(self.player.eye_embed.parameters()).device
        codes, labels, seen = list[Tensor](), list[Tensor](), 0
        for batch in BatchStream(LabelledFrameSource(index), alone):
            codes.append(self.player.code(batch.to(device)).cpu())
            labels.append(eye_labels(batch))
            seen += len(batch)
            if seen >= AXES_FRAMES:
                break
        code, label = torch.cat(codes)[:AXES_FRAMES], torch.cat(labels)[:AXES_FRAMES]
        self.axes.fit(code, label)
        shares = self.axes.shares(code, label)
        return (
            f"of the eye code of {AXES_FRAMES} training frames gaze explains {shares.gaze:.0%}, "
            f"blinks {shares.blink:.0%}, neither {shares.rest:.0%}"
        )

    @override
    def held_out(self, batches: Iterable[EyeAnchors]) -> list[Figure]:
        """The share of anchors that are more like the frame whose eyes they show than like their own face.

        A tie is not counted as such: an encoder that says the same of everything scores 0.

        Raises:
            ValueError: no row counts.
        """
        told = list[bool]()
        for batch in batches:
            codes = self.player.codes(batch)
            both = torch.stack([codes.f_1, codes.f_2], dim=1)
            of_eyes, of_face = cosine_similarity(codes.f_a[:, None], both).unbind(dim=1)
            right = (of_eyes > of_face + TIE).tolist()
            told += [right[row] for row in real_rows(batch)]
        if not told:
            raise ValueError("no row of the held-out batches counts")
        return [
            Figure(
                name="eye contrast accuracy",
                value=sum(told) / len(told),
                chance=0.5,
                higher_is_better=True,
                rows=len(told),
            )
        ]


STAGE: Final = EyeStage
