"""What a corpus costs on 1, 10 and 100 machines, computed from measured costs of one frame, clip and batch.

Nothing is run. The defaults are the figures of docs/measured.md; give your own as options, measured by
`benchmarks.preprocessing.preprocess` (--frame-ms) and read from a manifest of `shards` (--frame-bytes).

    python -m benchmarks.orchestration.projection [--frame-ms 4.83] [--cores 32] [--core-hour 0.04]
"""

import sys
from dataclasses import dataclass
from typing import Final

import click

from benchmarks.measuring import show

FRAMES_A_SECOND: Final = 25
STEP_COUNT: Final = 7  # of preprocessing, each an asset in Dagster
DAGSTER_SECONDS_A_BATCH: Final = 1.0  # with its events and checks (docs/measured.md, "Dagster's overhead")
RUN_START_SECONDS: Final = 12.0  # importing the definitions and Dagster in a run's process, with MediaPipe
KEPT_SHARE: Final = 0.7  # of the frames reach a shard; the rest is refused
FRAMES_A_SAMPLE: Final = 64
INDEX_BYTES_A_SAMPLE: Final = 110  # of a training process (`training.data.index.ClipIndex`)
MACHINES: Final = (1, 10, 100)


@dataclass(frozen=True)
class Corpus:
    """Size of a corpus."""

    name: str
    hours: float
    videos: int  # source files
    videos_per_batch: int


CORPORA: Final = (
    Corpus("VoxCeleb2", 2_442, 150_480, 256),
    Corpus("100 x VoxCeleb2", 244_200, 15_048_000, 1024),
)


@dataclass(frozen=True)
class Costs:
    """Measured costs and stated prices."""

    frame_ms: float  # CPU time from video to shard
    frame_bytes: int  # of a shard
    cores: int  # of a machine
    core_hour: float  # price
    gigabyte_month: float  # price of storage


def projection(corpus: Corpus, costs: Costs) -> dict[str, str]:
    """What the corpus costs, by quantity."""
    frames = corpus.hours * 3600 * FRAMES_A_SECOND
    batches = -(-corpus.videos // corpus.videos_per_batch)
    core_hours = frames * costs.frame_ms / 1000 / 3600 + batches * RUN_START_SECONDS / 3600
    kept = frames * KEPT_SHARE
    terabytes = kept * costs.frame_bytes / 1e12
    found = {
        "frames at 25 fps": f"{frames:.3g}",
        "core hours": f"{core_hours:,.0f}",
        "price": f"{core_hours * costs.core_hour:,.0f}",
        "batches": f"{batches:,}",
        "core minutes a batch": f"{60 * core_hours / batches:.0f}",
    }
    for machines in MACHINES:
        hours = core_hours / (machines * costs.cores)
        # A machine waits for the slowest of the last batches: at worst one whole batch on all its cores.
        last = core_hours / batches / costs.cores
        found[f"hours on {machines} x {costs.cores} cores"] = f"{hours:,.1f} to {hours + last:,.1f}"
    share = batches * DAGSTER_SECONDS_A_BATCH / 3600 / (core_hours / costs.cores)
    return found | {
        "Dagster's share of a machine's time": f"{100 * share:.2f} %",
        "shards, TB": f"{terabytes:.1f}",
        "storage, price a month": f"{1000 * terabytes * costs.gigabyte_month:,.0f}",
        "index, GiB of a training process": f"{kept / FRAMES_A_SAMPLE * INDEX_BYTES_A_SAMPLE / 2**30:.1f}",
    }


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--frame-ms", default=4.83, help="CPU milliseconds of a frame from video to shard")
@click.option("--frame-bytes", default=22_500, help="Bytes of a frame in a shard, with its labels and sound")
@click.option("--cores", default=32, help="Cores of a machine")
@click.option("--core-hour", default=0.04, help="Price of a core hour")
@click.option("--gigabyte-month", default=0.023, help="Price of a gigabyte of storage for a month")
def main(frame_ms: float, frame_bytes: int, cores: int, core_hour: float, gigabyte_month: float) -> None:
    """Print the table."""
    costs = Costs(frame_ms, frame_bytes, cores, core_hour, gigabyte_month)
    found = [projection(corpus, costs) for corpus in CORPORA]
    table = [[name, *(each[name] for each in found)] for name in found[0]]
    show("Preprocessing", ["", *(corpus.name for corpus in CORPORA)], table)


if __name__ == "__main__":
    sys.exit(main())
