"""A stage's figures on clips that were never trained on."""

from collections.abc import Iterator
from typing import Any

import torch

from training.data.batches import Batch
from training.data.loader import LoaderSettings, single_pass
from training.data.sources import Source
from training.stages.stage import Figure, Stage


def measure_held_out(
    stage: Stage[Any], source: Source[Any], settings: LoaderSettings, rows: int, device: torch.device
) -> list[Figure]:
    """The stage's figures over at most about `rows` rows of a source.

    A short split is passed several times, each time with other frames and negatives drawn from its clips,
    so that a figure does not hang on one draw a clip.

    Args:
        stage: in evaluation mode, gradients off.
        source: of a held-out split.
        settings: of the loader; read in this process.
        rows: how many rows to look at.
        device: of the stage.
    """
    alone = settings.replace(workers=0, pin_memory=False)
    return stage.held_out(_passes(source, alone, rows, device))


def _passes(
    source: Source[Any], settings: LoaderSettings, rows: int, device: torch.device
) -> Iterator[Batch]:
    seen, epoch = 0, 0
    while seen < rows:
        for batch in single_pass(source, settings, epoch=epoch):
            yield batch.to(device)
            seen += sum(batch.facts.real)
            if seen >= rows:
                return
        epoch += 1
