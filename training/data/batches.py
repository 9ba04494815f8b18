"""Training batches: one dataclass per kind.

Images are uint8 RGB [.., 3, H, W] on the host and on the device, where `training.data.frames` converts them
to network input. Loader workers read batches of one row; `training.data.shared_batches` joins them.

Where a stage has cached the features of its frozen trunk (`training.data.frame_features`), `features` holds
them, and images that only the trunk reads are empty.

Shape letters: B rows, K negatives or frames of a window, H = W side of the stored crops (224 px), D width of
the trunk's feature.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import torch
from torch import Tensor

MEL_WINDOW_FRAMES: Final = 20  # the audio network's input
NO_IMAGES: Final = torch.empty(0, dtype=torch.uint8)  # of a row whose images nobody reads
AnyBatch = TypeVar("AnyBatch", bound="Batch")


@dataclass(frozen=True)
class CorruptMember:
    """A member of a shard that cannot be read."""

    shard: str
    key: str
    member: str
    reason: str


@dataclass(frozen=True)
class RowFacts:
    """Where the rows of a batch are from; stays on the host."""

    keys: tuple[str, ...]  # B clips; for an eye anchor the clip of v2
    frames: tuple[int, ...]  # B, the driving frame's number in its clip
    epochs: tuple[int, ...]  # B
    seeds: tuple[int, ...]  # B, 63 bits from (seed, epoch, sample); augmentations use them
    real: tuple[bool, ...]  # B, False for padding of the last batch of a single pass
    corrupt: tuple[CorruptMember, ...] = ()  # found while reading these rows


@dataclass(frozen=True)
class Batch:
    """Base class of all batches."""

    facts: RowFacts

    def __len__(self) -> int:
        return len(self.facts.keys)

    def to(self: AnyBatch, device: torch.device | str, *, non_blocking: bool = False) -> AnyBatch:
        """The same batch with its tensors on `device`."""
        moved = {name: value.to(device, non_blocking=non_blocking) for name, value in self.tensors().items()}
        return dataclasses.replace(self, **moved)

    def pin_memory(self: AnyBatch) -> AnyBatch:
        """The same batch in page-locked memory; called by torch's DataLoader."""
        return dataclasses.replace(
            self, **{name: value.pin_memory() for name, value in self.tensors().items()}
        )

    def tensors(self) -> dict[str, Tensor]:
        """The batch's tensors by field."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class ClipPairs(Batch):
    """Stage 1: two different frames of one person."""

    appearance: Tensor  # uint8 [B, 3, H, W]
    driving: Tensor  # uint8 [B, 3, H, W]
    appearance_landmarks_px: Tensor  # float32 [B, 478, 3], in the stored crop
    landmarks_px: Tensor  # the same of the driving frame
    identity: Tensor  # int64 [B], number in `ClipIndex.training_identities`; -1: of another split
    features: Tensor | None = None  # float32 [B, 2, D] of appearance and driving frame


@dataclass(frozen=True)
class LipWindows(Batch):
    """Lip stage: a frame with its audio, and K negatives with theirs, for L_a2v and L_v2a.

    Negatives of the same clip come first.
    """

    frames: Tensor  # uint8 [B, 3, H, W]
    mels: Tensor  # float32 [B, 1, 80, 20] in [0, 1], the audio network's input
    negative_frames: Tensor  # uint8 [B, K, 3, H, W]
    negative_mels: Tensor  # float32 [B, K, 1, 80, 20]
    from_same_clip: Tensor  # bool [B, K]
    moments: Tensor  # int64 [B, 1 + K, 2]: index of the clip, and frame, of the row and its negatives
    features: Tensor | None = None  # float32 [B, 1 + K, D] of the row and its negatives


@dataclass(frozen=True)
class EyeAnchors(Batch):
    """Eye stage: v_a has the eyes of v1 in the face of v2."""

    eyes: Tensor  # v1, the positive: uint8 [B, 3, H, W]
    base: Tensor  # v2, the negative: uint8 [B, 3, H, W]
    anchor: Tensor  # v_a: uint8 [B, 3, H, W]
    features: Tensor | None = None  # float32 [B, 3, D] of v1, v2 and v_a
    # For the label readout, T other frames of v2's clip: uint8 [B, T, 3, H, W], or features [B, T, D]
    labelled: Tensor | None = None
    eye_labels: Tensor | None = None  # float32 [B, T, 4]: gaze pitch and yaw rad, blink left and right


@dataclass(frozen=True)
class LabelledFrames(Batch):
    """Pose stage and perception: a frame and its labels, in the data's frame of reference."""

    frames: Tensor  # uint8 [B, 3, H, W]
    pose: Tensor  # float32 [B, 6]: pitch, yaw, roll rad; x, y, z cm
    gaze: Tensor  # float32 [B, 2]: pitch, yaw rad
    blink: Tensor  # float32 [B, 2]: image-left, image-right eye; 0 open, 1 shut
    landmarks_px: Tensor  # float32 [B, 478, 3] in the stored crop; z < 0 nearer
    features: Tensor | None = None  # float32 [B, D]


@dataclass(frozen=True)
class ExpressionWindows(Batch):
    """Expression stage: the driving frame and K - 1 others of its clip, its audio, an appearance."""

    appearance: Tensor  # uint8 [B, 3, H, W], another frame of the person
    window: Tensor  # uint8 [B, K, 3, H, W], the driving frame in the middle (K odd)
    mels: Tensor  # float32 [B, 1, 80, 20], of the driving frame
    appearance_landmarks_px: Tensor  # float32 [B, 478, 3], in the stored crop
    landmarks_px: Tensor  # the same of the driving frame
    # float32 [B, 1 + K, D] of the appearance frame and the window, which then holds the driving frame only
    features: Tensor | None = None
    expression_labels: Tensor | None = None  # float32 [B, K, 2] of the window: smile and brow raise, cm

    @property
    def driving(self) -> Tensor:
        """The driving frame, uint8 [B, 3, H, W]."""
        return self.window[:, self.window.shape[1] // 2]


def join_facts(facts: Sequence[RowFacts]) -> RowFacts:
    """The facts of several batches, concatenated."""
    return RowFacts(
        **{
            field.name: tuple(value for part in facts for value in getattr(part, field.name))
            for field in dataclasses.fields(RowFacts)
        }
    )
