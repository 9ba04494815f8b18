"""Fits the coarse flow of the appearance path `warp` to landmarks, before a stage's first step (ours).

In a training step a few rows teach the flow, beside everything else that the generator learns. Alone, on
features and landmarks that are numbers, it sees hundreds of rows in the time of one image.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import torch
from pydantic import Field
from torch import Tensor, nn

from models.portrait_warp import CoarseFlow
from preprocessing.schema import CROP_SIDE_PX
from storage.settings import Settings
from training.data.index import ClipIndex
from training.losses.codes.decorrelation import in_window_mean
from training.losses.codes.label_readout import label_readout_loss
from training.losses.pictures.flow import bending_energy, landmark_flow_loss, local_flow_loss
from training.stages.codes.readouts import EXPRESSION_SCALES_CM
from training.stages.pictures.composite_landmarks import composite_landmarks

EYE_CODE: Final = "eye"
MOUTH_CODE: Final = "lip"
EXPRESSION_CODE: Final = "expression"

READOUT_WEIGHT: Final = 0.02
"""Of the expression's label readout beside the landmarks' errors, which are hundredths; ours."""

logger = logging.getLogger(__name__)


class FlowFitSettings(Settings):
    """How the coarse flow is fitted before the first step; all ours."""

    steps: int = Field(default=0, ge=0, description="Steps; 0: the flow is not fitted")
    batch_size: int = Field(default=64, ge=1, description="Rows a step")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="Of Adam; falls to 0 over the second half of the steps"
    )
    local_weight: float = Field(
        default=1.0, ge=0, description="Weight of lids, irises and lips relative to their neighbours"
    )
    bending_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the flow's bending energy, which holds what has no landmarks",
    )
    expression: bool = Field(
        default=False,
        description="Stage 3: fit the expression head too, to brows and mouth corners of another window",
    )


@dataclass(frozen=True)
class FlowRows:
    """Frames of training clips: N that drive and M that serve as portraits.

    Attributes:
        motion: what drives the flow, by name in the style's order, [N, C_i] each.
        driving_px: landmarks [N, 478, 3].
        identity: number of each driving frame's person, [N].
        portrait_feature: motion features [M, D].
        portrait_px: landmarks [M, 478, 3].
        portrait_identity: [M]; every person of `identity` is among them.
    """

    motion: Mapping[str, Tensor]
    driving_px: Tensor
    identity: Tensor
    portrait_feature: Tensor
    portrait_px: Tensor
    portrait_identity: Tensor


@dataclass(frozen=True)
class ExpressionFit:
    """An expression head that is fitted along with the flow, and the windows that it reads.

    Attributes:
        encode: motion features [B, K, D] of windows -> their frames' codes [B, K, C] as the flow gets them.
        network: what `encode` trains.
        features: of the windows of the N driving frames, [N, K, D].
        mean_px: mean landmarks over the frames of each window's span, [N, 478, 3].
        labels_cm: smile and brow raise of the windows' frames, [N, K, 2], which the label readout compares
            with the codes; None: no readout.
    """

    encode: Callable[[Tensor], Tensor]
    network: nn.Module
    features: Tensor
    mean_px: Tensor
    labels_cm: Tensor | None = None

    def readout(self, codes: Tensor, windows: Tensor) -> Tensor:
        """The label readout's loss of frames' codes [B, K, C] of some windows; 0 without labels."""
        if self.labels_cm is None:
            return codes.new_zeros(())
        dimensions = codes[..., : len(EXPRESSION_SCALES_CM)]
        return label_readout_loss(dimensions, self.labels_cm[windows], EXPRESSION_SCALES_CM)


def flow_rows(
    index: ClipIndex,
    keys: Sequence[str],
    landmarks_px: tuple[Tensor, Tensor],
    motion: Mapping[str, Tensor],
    portrait_features: Tensor,
) -> FlowRows:
    """N pairs of an appearance and a driving frame; both serve as portraits.

    Args:
        index: of the clips.
        keys: clip of each driving frame.
        landmarks_px: of the appearance and of the driving frames, [N, 478, 3] each.
        motion: what drives the flow, of the driving frames, [N, C_i] each.
        portrait_features: [2 N, D], of the appearance frames, then of the driving frames.
    """
    clips = pc.call_function("index_in", [pa.array(keys)], pc.SetLookupOptions(index.key_column))
    people = index.identity_column.dictionary_encode().indices.take(clips)
    identity = torch.tensor(people.to_pylist(), device=portrait_features.device)
    return FlowRows(
        motion,
        landmarks_px[1],
        identity,
        portrait_features,
        torch.cat(landmarks_px),
        identity.repeat(2),
    )


class _SamePerson:
    """Draws rows of given people."""

    def __init__(self, identity: Tensor) -> None:
        self._order = identity.argsort(stable=True)
        self._ordered = identity[self._order].contiguous()

    def draw(self, people: Tensor, generator: torch.Generator) -> Tensor:
        """A row of each person."""
        first = torch.searchsorted(self._ordered, people)
        count = torch.searchsorted(self._ordered, people, right=True) - first
        share = torch.rand(len(people), generator=generator, dtype=torch.float64).to(people.device)
        return self._order[first + (share * count).long()]


@torch.enable_grad()
def fit_flow(
    flow: CoarseFlow, rows: FlowRows, settings: FlowFitSettings, expression: ExpressionFit | None = None
) -> None:
    """Fit the coarse flow to landmarks of portraits and driving frames of the same person.

    If eye and lip codes are among what drives it, they come from two other frames of the person, and the
    landmarks are those of the composite (`composite_landmarks`): each control is learned alone, although
    the codes of a frame go together. With `expression`, so does the expression code, and its head is fitted
    too; without, the columns that read it stay as they are: from it the flow would take speech and pose.
    """
    if not settings.steps:
        return
    trained = [*flow.parameters(), *([] if expression is None else expression.network.parameters())]
    optimizer = torch.optim.Adam(trained, lr=settings.learning_rate)
    if expression is not None:
        expression.network.train()
    generator = torch.Generator().manual_seed(0)
    drivers, portraits = _SamePerson(rows.identity), _SamePerson(rows.portrait_identity)
    untrained = _columns(rows.motion, EXPRESSION_CODE) if expression is None else []
    loss = torch.zeros(())
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.learning_rate * min(1.0, 2 * (1 - step / settings.steps))
        head = torch.randint(len(rows.identity), (settings.batch_size,), generator=generator)
        head = head.to(rows.identity.device)
        people = rows.identity[head]
        motion, driving_px, readout = _composite(rows, head, drivers, people, generator, expression)
        portrait = portraits.draw(people, generator)
        field = flow(motion, rows.portrait_feature[portrait])
        landmarks_px = rows.portrait_px[portrait], driving_px
        loss = landmark_flow_loss(field, *landmarks_px, CROP_SIDE_PX)
        if settings.local_weight:
            loss = loss + settings.local_weight * local_flow_loss(field, *landmarks_px, CROP_SIDE_PX)
        if settings.bending_weight:
            loss = loss + settings.bending_weight * bending_energy(field)
        loss = loss + READOUT_WEIGHT * readout
        optimizer.zero_grad()
        loss.backward()
        assert flow.from_motion.weight.grad is not None
        flow.from_motion.weight.grad[:, untrained] = 0.0
        optimizer.step()
    if expression is not None:
        expression.network.eval()
    logger.info(
        "Fitted the flow to %d rows in %d steps: loss %.4f",
        *(len(rows.identity), settings.steps, loss.item()),
    )


def _columns(motion: Mapping[str, Tensor], name: str) -> list[int]:
    """Where a code's dimensions are among all; none without that code."""
    names = [code for code, values in motion.items() for _ in range(values.shape[1])]
    return [place for place, code in enumerate(names) if code == name]


def _composite(
    rows: FlowRows,
    head: Tensor,
    drivers: _SamePerson,
    people: Tensor,
    generator: torch.Generator,
    expression: ExpressionFit | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Motion [B, C] and landmarks [B, 478, 3] of heads with eyes, mouths, expressions of the same people.

    With the loss of the expression's label readout, 0 where there is none.
    """
    readout = rows.driving_px.new_zeros(())
    if not {EYE_CODE, MOUTH_CODE} <= rows.motion.keys():
        return (
            torch.cat([codes[head] for codes in rows.motion.values()], dim=1),
            rows.driving_px[head],
            readout,
        )
    source = {name: drivers.draw(people, generator) for name in (EYE_CODE, MOUTH_CODE)}
    codes = {name: codes[source.get(name, head)] for name, codes in rows.motion.items()}
    eyes, mouth = source[EYE_CODE], source[MOUTH_CODE]
    means_px = None
    if expression is not None:
        window = drivers.draw(people, generator)
        frames = expression.encode(expression.features[window])
        codes[EXPRESSION_CODE] = in_window_mean(frames)
        readout = expression.readout(frames, window)
        means_px = expression.mean_px[window], expression.mean_px[mouth]
    head_px, eyes_px, mouth_px = (rows.driving_px[frame] for frame in (head, eyes, mouth))
    composite_px = composite_landmarks(head_px, eyes_px, mouth_px, means_px)
    return torch.cat([*codes.values()], dim=1), composite_px, readout
