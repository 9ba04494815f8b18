"""Every ratio in one table, each beside its floor or peer in the same run: `make bench`.

By default four short videos are rendered and all sizes are small: about ten minutes on two cores. With
`--videos` the chain runs on a folder of real ones. Written to `benchmarks/results.json` with the machine, the
spread over the rounds and the commit.

    python -m benchmarks.suite [--videos FOLDER] [--rounds 3] [--area NAME ...] [--json FILE]
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from preprocessing.process_pool import ONE_THREAD

os.environ.update(ONE_THREAD)  # read when numpy is loaded, so before the imports below

import click
import cv2
import torch

from benchmarks.measuring import write_json
from benchmarks.suite import inference, orchestration, preprocessing, training
from benchmarks.suite.figures import Figure, machine, show_figures

AREAS: Final = ("chain", "mesh", "loading", "steps", "inference", "commands", "batch")
NEED_A_ROOT: Final = frozenset({"loading", "steps", "commands", "batch"})
RESULTS: Final = Path(__file__).parents[1] / "results.json"
TURN_SECONDS: Final = 0.3  # of a loader
STEPS_OF_A_TURN: Final = 2


@click.command()
@click.option(
    "--videos", type=click.Path(path_type=Path, exists=True), help="Folder; default: rendered ones."
)
@click.option("--root", type=click.Path(path_type=Path, exists=True), help="With a data set; default: made.")
@click.option("--limit", default=6, help="Videos of the chain.")
@click.option("--rounds", default=3, help="Rounds of everything.", type=click.IntRange(1))
@click.option("--area", "areas", multiple=True, default=AREAS, type=click.Choice(AREAS))
@click.option("--json", "json_path", default=RESULTS, type=click.Path(path_type=Path))
def main(
    videos: Path | None,
    root: Path | None,
    *,
    limit: int,
    rounds: int,
    areas: tuple[str, ...],
    json_path: Path,
) -> None:
    """Measure all areas and print one table."""
    cv2.setNumThreads(1)
    figures: list[Figure] = []
    seconds: dict[str, float] = {}
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        needs_root = root is None and bool(NEED_A_ROOT & set(areas))
        if videos is None and (needs_root or "chain" in areas):
            videos = work / "videos"
            preprocessing.make_corpus(videos)
        if root is None:
            root = work / "root"
        if videos is not None and needs_root:
            preprocessing.make_root(videos, root)
        os.environ["PDFGC_ROOT"] = str(root)
        for area, measure in measurements(videos or work, root, work, limit, rounds).items():
            if area in areas:
                started = time.monotonic()
                figures += measure()
                seconds[area] = round(time.monotonic() - started, 1)
                results = {"machine": before, "load_after": machine()["load"], "rounds": rounds}
                results |= {"seconds": seconds, "figures": [figure.as_json() for figure in figures]}
                write_json(json_path, results)  # after each, so that an end does not lose them
    title = f"{before['processor']}, {before['cores']} cores, load {before['load'][0]}, {rounds} rounds"
    show_figures(title, figures)


def measurements(
    videos: Path, root: Path, work: Path, limit: int, rounds: int
) -> dict[str, Callable[[], list[Figure]]]:
    """The measurement of each area."""

    def infer() -> list[Figure]:
        torch.set_num_threads(1)
        return [*inference.animation(rounds), *inference.scoring(rounds)]

    return {
        "chain": lambda: preprocessing.chain(videos, limit, rounds, work / "chain"),
        "mesh": lambda: preprocessing.mesh(rounds),
        "loading": lambda: training.loading(root, rounds, TURN_SECONDS),
        "steps": lambda: training.steps(root, rounds, STEPS_OF_A_TURN),
        "inference": infer,
        "commands": lambda: orchestration.commands(root, rounds),
        "batch": lambda: orchestration.batch(root),
    }


if __name__ == "__main__":
    main()
