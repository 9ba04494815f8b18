"""To look at a stage in the middle of its training without changing how it goes on."""

from typing import Any

import torch
from torch import Tensor

from training.engine.ema import Averages
from training.stages.stage import Stage


class Looking:
    """Evaluation mode, averaged weights and untouched random numbers, for as long as it lasts."""

    def __init__(self, stage: Stage[Any], averages: Averages, device: torch.device) -> None:
        self._stage, self._averages = stage, averages
        self._random = torch.random.fork_rng([device] if device.type == "cuda" else [])
        self._no_gradients = torch.no_grad()
        self._kept: dict[str, dict[str, Tensor]] = {}

    def __enter__(self) -> None:
        self._random.__enter__()
        self._no_gradients.__enter__()
        torch.manual_seed(0)  # the same noise at every look
        self._stage.model.eval()
        for name, average in self._averages.networks.items():
            network = self._stage.saved[name]
            self._kept[name] = {key: value.clone() for key, value in network.state_dict().items()}
            network.load_state_dict(average.state_dict())

    def __exit__(self, *error: object) -> None:
        for name, kept in self._kept.items():
            self._stage.saved[name].load_state_dict(kept)
        self._stage.model.train()
        self._no_gradients.__exit__(None, None, None)
        self._random.__exit__(None, None, None)
