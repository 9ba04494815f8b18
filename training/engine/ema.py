"""Exponential moving averages of the networks, used for evaluation and by later stages."""

import copy
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training.stages.stage import Stage

_WARM_UP: Final = 10.0
"""The decay at step s is at most (1 + s) / (10 + s), as in TensorFlow's `ExponentialMovingAverage`, so that a
short run forgets its random initialisation."""


class EMA:
    """Averaged copies of networks: parameters are averaged, buffers copied."""

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self._sources = dict(networks)
        self._decay = decay
        self.networks: dict[str, nn.Module] = {}
        for name, network in networks.items():
            average = copy.deepcopy(network)
            self.networks[name] = average.requires_grad_(requires_grad=False).eval()

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update after the given step (from 0)."""
        decay = min(self._decay, (1.0 + step) / (_WARM_UP + step))
        for name, source in self._sources.items():
            average = self.networks[name]
            targets = [value.data for value in average.parameters()]
            if targets:
                get_ema_multi_avg_fn(decay)(targets, [value.data for value in source.parameters()], step)
            for target, buffer in zip(average.buffers(), source.buffers(), strict=True):
                target.copy_(buffer)


@contextmanager
def ema_scope(stage: Stage[Any], ema: EMA, device: torch.device) -> Generator[None]:
    """Evaluation mode with averaged weights and no gradients; on exit, weights and random state are restored.

    Noise is the same in every scope: the generators are seeded with 0.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        torch.manual_seed(0)
        stage.model.eval()
        kept: dict[str, dict[str, Tensor]] = {}
        for name, average in ema.networks.items():
            network = stage.saved[name]
            kept[name] = {key: value.clone() for key, value in network.state_dict().items()}
            network.load_state_dict(average.state_dict())
        try:
            yield
        finally:
            for name, weights in kept.items():
                stage.saved[name].load_state_dict(weights)
            stage.model.train()
