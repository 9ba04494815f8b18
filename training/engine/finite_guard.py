"""Stops a run at the first number that is not finite."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from storage.atomic import write_atomically
from training.data.batches import Batch, RowFacts
from training.engine.settings import Cadence

NOT_FINITE_NAME: Final = "not_finite.json"


class NotFiniteError(ArithmeticError):
    """A loss or a gradient is NaN or infinite; the batches' keys were saved."""


class FiniteGuard:
    """Looks every few steps, and keeps for the message which rows the steps since its last look had."""

    def __init__(self, stage: str, work: Path, rank: int, cadence: Cadence) -> None:
        self._stage, self._file, self._cadence = stage, work / f"rank-{rank}-{NOT_FINITE_NAME}", cadence
        self._recent: list[tuple[int, RowFacts]] = []  # not the batches: their pictures are gigabytes

    def check(
        self, step: int, batch: Batch, numbers: Sequence[Tensor], losses: Mapping[str, Tensor], *, now: bool
    ) -> None:
        """Look at a step's numbers, if it is time to.

        Args:
            step: its number, from 0.
            batch: its batch.
            numbers: totals and lengths of gradients. A gradient is the mean of all processes', so a rank's
                bad batch stops every rank at the same step.
            losses: by name, for the message.
            now: look whether it is time or not.

        Raises:
            NotFiniteError: one is NaN or infinite; a file in the work folder tells the batches in play.
        """
        self._recent.append((step, batch.facts))
        if not now and (step + 1) % self._cadence.finite_check_every_steps:
            return
        recent, self._recent = self._recent, []
        if bool(torch.isfinite(torch.stack([number.float() for number in numbers])).all()):
            return
        values = {name: str(float(value.detach())) for name, value in losses.items()}
        batches = [
            {"step": at, "keys": facts.keys, "frames": facts.frames, "seeds": facts.seeds}
            for at, facts in recent
        ]
        with write_atomically(self._file) as partial:
            partial.write_text(
                json.dumps({"step": step, "losses": values, "batches": batches}, indent=1), "utf-8"
            )
        raise NotFiniteError(
            f"{self._stage}: step {step} is not finite ({values}); the batches' keys are in {self._file}. "
            "The last checkpoint is whole: lower the rate or set gradient_clip_norm, then start again"
        )
