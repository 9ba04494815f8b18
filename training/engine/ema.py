"""Moving averages of networks: what is looked at and handed on in place of the last step's weights."""

import copy
from collections.abc import Mapping
from typing import Final

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

_WARM_UP: Final = 10.0
"""The decay of step s is at most (1 + s) / (10 + s), as in TensorFlow's `ExponentialMovingAverage`: a run
of few steps then forgets its random beginning."""


class Averages:
    """Copies of networks that follow them slowly; parameters averaged, buffers taken over as they are."""

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self._followed = dict(networks)
        self._decay = decay
        self.networks: dict[str, nn.Module] = {}
        for name, network in networks.items():
            follower = copy.deepcopy(network)
            self.networks[name] = follower.requires_grad_(requires_grad=False).eval()

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the networks after the given step (from 0)."""
        decay = min(self._decay, (1.0 + step) / (_WARM_UP + step))
        for name, followed in self._followed.items():
            average = self.networks[name]
            targets = [value.data for value in average.parameters()]
            if targets:
                get_ema_multi_avg_fn(decay)(targets, [value.data for value in followed.parameters()], step)
            for target, source in zip(average.buffers(), followed.buffers(), strict=True):
                target.copy_(source)
