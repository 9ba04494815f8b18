"""What the loop tells between two reports."""

import time
from collections.abc import Mapping

import torch
from torch import Tensor


class Meter:
    """Means of the losses and times since the last report; sums stay on the device until then."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start()

    def _start(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._total = torch.zeros((), device=self._device)
        self._steps = self._images = 0
        self._since = time.monotonic()

    def end_step(self, losses: Mapping[str, Tensor], total: Tensor, images: int) -> None:
        """A step is done."""
        for name, value in losses.items():
            held = self._sums.get(name)
            self._sums[name] = value.detach().float() if held is None else held + value.detach().float()
        self._total = self._total + total
        self._steps += 1
        self._images += images

    def take(self) -> tuple[dict[str, float], float, float, float]:
        """Mean losses, mean total, seconds a step, images a second; starts anew."""
        steps = max(1, self._steps)
        losses = {name: float(value) / steps for name, value in self._sums.items()}
        total, seconds = float(self._total) / steps, time.monotonic() - self._since
        images = self._images / seconds
        self._start()
        return losses, total, seconds / steps, images
