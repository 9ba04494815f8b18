"""Rows of stage 3 whose controls come from different rows of a batch, and their losses (ours).

No frame shows their pictures, so what is read in them is compared with what drives each control.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.external.face_mesh import load_face_mesh
from models.portrait_warp import Portrait
from models.style_vector import StyleVector
from training.losses.codes.control_consistency import (
    CodesRead,
    code_consistency_loss,
    control_consistency_loss,
)
from training.stages.codes.control_readings import ControlReadings
from training.stages.encoders import FrozenEncoders
from training.stages.stage import FrozenNetwork

READING_OF: Final = {"pose": "pose", "mouth": "lip", "gaze": "eye", "lids": "eye"}
"""Reading of control consistency -> the code that drives it."""


@dataclass(frozen=True)
class EncodedRows:
    """A batch's rows as the generator gets them, and what the losses need."""

    style: StyleVector
    appearance_map: Tensor
    portrait: Portrait
    driving: Tensor  # [B, 3, S, S] in [-1, 1]
    feature: Tensor  # [B, D], the driving frame's unified motion feature
    expression: Tensor  # F̄_e [B, 30]
    audio_feature: Tensor  # F_a [B, 512]
    frame_expressions: Tensor  # F_e [B, K, 30]

    def select(self, rows: list[int]) -> "EncodedRows":
        """Some of the rows."""
        return EncodedRows(
            StyleVector(**{name: code[rows] for name, code in self.style.codes().items()}),
            self.appearance_map[rows],
            Portrait(self.portrait.image[rows], self.portrait.motion_feature[rows]),
            self.driving[rows],
            self.feature[rows],
            self.expression[rows],
            self.audio_feature[rows],
            self.frame_expressions[rows],
        )


@dataclass(frozen=True)
class MixedRows:
    """Rows whose controls come from different rows of a batch: their numbers, by control."""

    rows: EncodedRows
    sources: Mapping[str, list[int]]


class MixedRowLosses(nn.Module):
    """The losses of mixed rows, with the frozen networks that read their pictures."""

    def __init__(self, encoders: FrozenEncoders, count: int, *, controls: bool, codes: bool) -> None:
        """`count` rows of a batch are mixed; `controls` and `codes`: whether those losses are computed."""
        super().__init__()
        self._count, self._codes = count, codes
        # In a tuple, so that it is not a submodule twice.
        self._encoders = (encoders,)
        self.controls = FrozenNetwork(ControlReadings(load_face_mesh())) if controls else None

    @override
    def forward(self, rows: EncodedRows, generate: Callable[[EncodedRows], Tensor]) -> dict[str, Tensor]:
        """Losses by name, unweighted.

        Args:
            rows: the batch.
            generate: pictures [B, 3, S, S] of encoded rows.
        """
        if self.controls is None and not self._codes:
            return {}
        mixed = self.mix(rows, min(self._count, len(rows.driving)))
        image = generate(mixed.rows).float()
        losses = dict[str, Tensor]()
        if self.controls is not None:
            losses["controls"] = control_consistency_loss(*self.readings(mixed, image, rows))
        if self._codes:
            losses["codes"] = self._code_consistency(mixed, image, rows)
        return losses

    def mix(self, rows: EncodedRows, count: int) -> MixedRows:
        """`count` rows whose controls come from different rows.

        Row i takes the pose from row i + 1 and the eyes from i + 2, of the first `count` + 1; sound and
        expression are its own.
        """
        among = min(count + 1, len(rows.driving))
        own = list(range(count))
        pose, eye = ([(row + step) % among for row in own] for step in (1, 2))
        codes = rows.style.codes()
        kept = rows.select(own)
        style = dataclasses.replace(kept.style, pose=codes["pose"][pose], eye=codes["eye"][eye])
        return MixedRows(dataclasses.replace(kept, style=style), {"pose": pose, "eye": eye, "lip": own})

    def readings(
        self, mixed: MixedRows, image: Tensor, rows: EncodedRows
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Readings of mixed rows' pictures, and those of the frames that drive each control."""
        assert self.controls is not None
        read: dict[str, Tensor] = self.controls(image)
        with torch.no_grad():
            # Each driver is read once.
            drivers = sorted({place for source in mixed.sources.values() for place in source})
            known: dict[str, Tensor] = self.controls(rows.driving[drivers])
        order = {place: number for number, place in enumerate(drivers)}
        wanted = {
            name: known[name][[order[place] for place in mixed.sources[control]]]
            for name, control in READING_OF.items()
        }
        return read, wanted

    def _code_consistency(self, mixed: MixedRows, image: Tensor, rows: EncodedRows) -> Tensor:
        (encoders,), sources = self._encoders, mixed.sources
        feature: Tensor = encoders.trunk(image)
        with torch.no_grad():
            pose = encoders.pose(rows.feature[sources["pose"]])
            eye = encoders.eye(rows.feature[sources["eye"]])
        lip = rows.audio_feature[sources["lip"]].detach()
        return code_consistency_loss(
            CodesRead(encoders.pose(feature), encoders.eye(feature), encoders.lip(feature)),
            CodesRead(pose, eye, lip),
        )
