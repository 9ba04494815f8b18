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

from models.external.face_mesh import FaceReading, load_face_mesh
from models.portrait_warp import Portrait
from models.style_vector import StyleVector
from training.losses.codes.code_response import code_response_loss
from training.losses.codes.control_consistency import (
    CodesRead,
    code_consistency_loss,
    control_consistency_loss,
)
from training.stages.codes.control_readings import READ_SHARES, ControlReadings
from training.stages.codes.readouts import EXPRESSION_SCALES_CM, EYE_DIMENSIONS, EYE_SCALES
from training.stages.encoders import FrozenEncoders
from training.stages.stage import FrozenNetwork

RESPONSE_SCALES: Final = tuple(
    scale * share for scale, share in zip((*EYE_SCALES[:2], *EXPRESSION_SCALES_CM), READ_SHARES, strict=True)
)
"""What the readings of gaze pitch and yaw, rad, smile and brow raise, cm, change as a code changes by 1."""
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


@dataclass(frozen=True)
class MixedRowWeights:
    """Which losses are computed: those whose weight is not 0."""

    controls: float
    responses: float
    codes: float

    @property
    def read_controls(self) -> bool:
        """Whether any loss reads the controls in generated pictures."""
        return max(self.controls, self.responses) > 0


class MixedRowLosses(nn.Module):
    """The losses of mixed rows, with the frozen networks that read their pictures."""

    def __init__(self, encoders: FrozenEncoders, weights: MixedRowWeights, count: int) -> None:
        """`count` rows of a batch are mixed."""
        super().__init__()
        self._weights, self._count = weights, count
        # In a tuple, so that it is not a submodule twice.
        self._encoders = (encoders,)
        self.controls = FrozenNetwork(ControlReadings(load_face_mesh())) if weights.read_controls else None

    @property
    def control_readings(self) -> ControlReadings:
        """What reads the controls; only where a loss needs it."""
        assert self.controls is not None
        network = self.controls.network
        assert isinstance(network, ControlReadings)
        return network

    @override
    def forward(
        self,
        rows: EncodedRows,
        generated: Tensor,
        own: FaceReading | None,
        generate: Callable[[EncodedRows], Tensor],
    ) -> dict[str, Tensor]:
        """Losses by name, unweighted; those of weight 0 are left out.

        Args:
            rows: the batch.
            generated: the pictures [B, 3, S, S] of its own codes.
            own: readings of the first of them, if they were read already.
            generate: pictures of encoded rows.
        """
        weights = self._weights
        if not (weights.read_controls or weights.codes):
            return {}
        count = min(self._count, len(rows.driving))
        mixed = self.mix(rows, count)
        image = generate(mixed.rows).float()
        losses = dict[str, Tensor]()
        if weights.read_controls:
            reading: FaceReading = self.control_readings.networks(image)
            if weights.controls:
                losses["controls"] = control_consistency_loss(*self.readings(mixed, reading, rows))
            if weights.responses:
                if own is None or len(own.mesh) < count:
                    own = self.control_readings.networks(generated[:count])
                assert own is not None
                losses["responses"] = code_response_loss(*self.responses(mixed, reading, own, rows))
        if weights.codes:
            losses["codes"] = self._code_consistency(mixed, image, rows)
        return losses

    def mix(self, rows: EncodedRows, count: int) -> MixedRows:
        """`count` rows whose controls come from different rows.

        Row i takes the pose from row i + 1, the eyes from i + 2 and, with `responses`, the expression from
        i + 3, of the first rows; the sound is its own.
        """
        among = min(count + (2 if self._weights.responses else 1), len(rows.driving))
        own = list(range(count))
        pose, eye, expression = ([(row + step) % among for row in own] for step in (1, 2, 3))
        if not self._weights.responses:
            expression = own
        codes = rows.style.codes()
        kept = rows.select(own)
        style = dataclasses.replace(
            kept.style,
            pose=codes["pose"][pose],
            eye=codes["eye"][eye],
            expression=codes["expression"][expression],
        )
        sources = {"pose": pose, "eye": eye, "expression": expression, "lip": own}
        return MixedRows(dataclasses.replace(kept, style=style), sources)

    def readings(
        self, mixed: MixedRows, reading: FaceReading, rows: EncodedRows
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Readings of mixed rows' pictures, and those of the frames that drive each control."""
        controls = self.control_readings
        with torch.no_grad():
            # Each driver is read once.
            drivers = sorted({place for name in READING_OF.values() for place in mixed.sources[name]})
            known: dict[str, Tensor] = controls(rows.driving[drivers])
        order = {place: number for number, place in enumerate(drivers)}
        wanted = {
            name: known[name][[order[place] for place in mixed.sources[control]]]
            for name, control in READING_OF.items()
        }
        return controls.measure(reading), wanted

    def responses(
        self, mixed: MixedRows, reading: FaceReading, own: FaceReading, rows: EncodedRows
    ) -> tuple[Tensor, Tensor]:
        """Change of gaze, smile and brows [B, 4] from the rows' own pictures to the mixed ones.

        Args:
            mixed: the first B rows, mixed.
            reading: of the mixed pictures.
            own: of the rows' own pictures, of at least B.
            rows: the batch.

        Returns:
            As read, and as the codes say; both in units of the codes.
        """
        count, measures = len(mixed.rows.driving), self.control_readings.readout_measures
        changes = measures(reading) - measures(own)[:count]
        (encoders,) = self._encoders
        with torch.no_grad():
            eye: Tensor = encoders.eye(rows.feature)
            says = torch.cat([eye[:, list(EYE_DIMENSIONS[:2])], rows.style.expression[:, :2]], dim=1)
            gaze, mood = (says[mixed.sources[name]] for name in ("eye", "expression"))
            said = torch.cat([gaze[:, :2], mood[:, 2:]], dim=1) - says[:count]
        return changes / changes.new_tensor(RESPONSE_SCALES), said

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
