"""Figures of loading and of the training step, on the data set of a root."""

import tempfile
from pathlib import Path
from typing import Final

import torch
from upath import UPath

from benchmarks.suite.figures import Figure
from benchmarks.training.loader import FLOOR, OURS, LoaderTask, measure, start, summarise
from benchmarks.training.loader_peers import LOADERS, write_layouts
from benchmarks.training.train_step import REFERENCE, Compared, measure_stage
from benchmarks.training.train_step import start as start_training
from training.data.index import open_current
from training.engine.distributed import join
from training.jobs.config import TrainingConfig
from training.stage_catalog import STAGE_NAMES

BATCH_SIZE: Final = 16
PEERS: Final = ("folder of JPEGs", "webdataset", "LitData, clips", "Streaming, frames")
"""The best layout of each."""


def loading(root: Path, rounds: int, seconds: float) -> list[Figure]:
    """Samples per second of our loader over those of its peers, with 0, 1 and 2 workers."""
    torch.set_num_threads(1)  # as in a worker
    index = open_current(UPath(root), "train")
    names = [name for name in PEERS if LOADERS[name].present()]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        layouts = Path(folder) / "layouts"
        layouts.mkdir()
        write_layouts(index, layouts, names)
        for workers in (0, 1, 2):
            place = Path(folder) / f"{workers}"
            place.symlink_to(layouts)
            task = LoaderTask(index, place, BATCH_SIZE, workers)
            speeds = measure(start(task, names), task, rounds, seconds)
            results = summarise(speeds)
            for name in (FLOOR, *names):
                if name not in speeds:
                    continue
                ratios = tuple(
                    mine.samples_per_second / its.samples_per_second
                    for mine, its in zip(speeds[OURS], speeds[name], strict=True)
                )
                ours, its = (results[key]["samples_per_second"] for key in (OURS, name))
                aim = ">= .8" if name == FLOOR else ">= 1"
                figures.append(
                    Figure(f"loader, {workers} workers", ours, "samples/s", name, its, ratios, aim)
                )
    return figures


def steps(root: Path, rounds: int, count: int) -> list[Figure]:
    """Images per second of every stage of `tiny_cpu` and of bfloat16 over eager float32."""
    config, figures = TrainingConfig(preset="tiny_cpu", device="cpu"), list[Figure]()
    with tempfile.TemporaryDirectory() as folder, join("cpu") as distributed:
        for stage in STAGE_NAMES:
            work = Path(folder) / stage
            work.mkdir()
            compared = Compared(bfloat16=True, random_parents=True)
            trainers = start_training(UPath(root), stage, config, distributed, compared, work)
            results = measure_stage(trainers, rounds, count)
            reference = results[REFERENCE]["images_per_second"]
            for name, values in results.items():
                if name == REFERENCE:
                    continue
                ratios = tuple(values[f"over_float32{end}"] for end in ("_lowest", "", "_highest"))
                ours = values["images_per_second"]
                figures.append(Figure(f"{stage}, {name}", ours, "images/s", REFERENCE, reference, ratios))
    return figures
