import itertools
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.factories.training.data import READER, make_data_set
from training.data.batches import ClipPairs
from training.data.index import read_clip_index
from training.data.loader import BatchStream, LoaderSettings
from training.data.sources import ClipPairSettings, ClipPairSource


def test_copied_batches_are_not_overwritten(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    source = ClipPairSource(
        read_clip_index(tmp_path / "assets/dataset", tmp_path, "train"), ClipPairSettings()
    )

    def batches(workers: int) -> Iterator[ClipPairs]:
        settings = LoaderSettings(batch_size=2, workers=workers, prefetch_batches=1, reader=READER)
        return itertools.islice(BatchStream(source, settings), 20)

    kept = list(batches(2))  # two workers, two places each: every place was written five times
    for expected, batch in zip(batches(0), kept, strict=True):
        assert expected.facts == batch.facts
        assert torch.equal(expected.driving, batch.driving)
        assert torch.equal(expected.appearance, batch.appearance)
