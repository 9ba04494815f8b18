"""A share of `make fuzz`, and the fuzz test's own counting."""

import random
from pathlib import Path

import pytest

from preprocessing.process_pool import Crashed
from tests.fuzz.mutations import MUTATIONS, mutate
from tests.fuzz.run import Counts, FuzzInput, Outcome, count_outcome, fuzz
from tests.fuzz.seeds import Seed, make_seeds


@pytest.mark.slow
def test_changed_files_are_read_or_refused(tmp_path: Path) -> None:
    seeds = make_seeds(tmp_path)
    assert {seed.kind for seed in seeds} > {"video", "image", "sound", "shard", "manifest", "weights"}
    report = fuzz(seeds, 2 * len(seeds), random_seed=1, workers=1)
    assert report.losses == []
    assert sum(counts.tried for counts in report.counts.values()) == 2 * len(seeds)


def test_mutations_change_bytes_and_repeat() -> None:
    data, other = bytes(range(256)) * 8, b"other" * 50
    changed = [mutate(data, other, random.Random(seed)) for seed in range(40)]
    assert changed == [mutate(data, other, random.Random(seed)) for seed in range(40)]
    assert sum(one != data for one in changed) > 30
    for mutation in MUTATIONS:
        piece = bytearray(data)
        mutation(piece, other, random.Random(3))


@pytest.mark.parametrize(
    ("outcome", "loss"),
    [
        (Outcome(digest="a"), ""),
        (Outcome(refusal="damaged"), ""),
        (Outcome(digest="b"), "the damage was not seen"),
        (Outcome(error="Traceback"), "Traceback"),
        (Crashed("killed"), "reader_crashed: killed"),
        (Crashed("loops", "too_slow"), "too_slow: loops"),
        (Crashed("large", "out_of_memory"), "out_of_memory: large"),
    ],
)
def test_losses_are_counted(outcome: Outcome | Crashed, loss: str) -> None:
    counts = Counts()
    task = FuzzInput(Seed("shard", Path("a.tar"), Path()), (), 0, 0)
    assert count_outcome(task, outcome, counts, expected="a").endswith(loss)
    lost = counts.crashed + counts.hung + counts.out_of_memory + counts.unseen
    assert (counts.tried, lost) == (1, int(bool(loss)))
