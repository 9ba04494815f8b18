from collections.abc import Iterable

import pytest
import torch
from typing_extensions import override
from upath import UPath

from training.data.batches import LabelledFrames
from training.data.index import ClipIndex, open_current
from training.data.loader import LoaderSettings
from training.data.sources import LabelledFrameSource
from training.engine.held_out import measure_held_out
from training.stages.stage import Figure, Stage, real_rows


class Counting(Stage[LabelledFrames]):
    """Keeps what it is shown."""

    name, version = "counting", "1"

    def __init__(self) -> None:
        self.shown: list[LabelledFrames] = []

    @override
    def source(self, index: ClipIndex) -> LabelledFrameSource:
        return LabelledFrameSource(index)

    @override
    def held_out(self, batches: Iterable[LabelledFrames]) -> list[Figure]:
        self.shown = list(batches)
        rows = sum(len(real_rows(batch)) for batch in self.shown)
        return [Figure("rows", float(rows), None, higher_is_better=True)]


@pytest.mark.parametrize(("wanted", "passes"), [(1, 1), (2, 1), (3, 2), (5, 3)])
def test_a_short_split_is_passed_until_there_are_enough_rows_that_count(
    toy_root: UPath, wanted: int, passes: int
) -> None:
    index = open_current(toy_root, "validation")
    assert len(index) == 2
    stage = Counting()
    settings = LoaderSettings(batch_size=3, workers=2, pin_memory=True)
    (figure,) = measure_held_out(stage, stage.source(index), settings, wanted, torch.device("cpu"))
    assert figure.value == 2 * passes
    assert [batch.facts.real for batch in stage.shown] == [(True, True, False)] * passes
    assert [batch.facts.epochs for batch in stage.shown] == [(epoch,) * 3 for epoch in range(passes)]
    keys = {batch.facts.keys[:2] for batch in stage.shown}
    assert keys == {(index.key(0), index.key(1))}


def test_every_pass_draws_its_own_frames_and_the_next_measure_the_same(toy_root: UPath) -> None:
    stage = Counting()
    source = stage.source(open_current(toy_root, "validation"))
    drawn: list[list[tuple[int, ...]]] = []
    for _ in range(2):
        measure_held_out(stage, source, LoaderSettings(batch_size=2), 12, torch.device("cpu"))
        drawn.append([batch.facts.frames for batch in stage.shown])
    assert len(drawn[0]) == 6
    assert len(set(drawn[0])) > 1
    assert drawn[0] == drawn[1]
