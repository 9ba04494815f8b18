"""The scenes of a training film: one held-out person with the same drivers, re-made at every checkpoint.

A scene is `film/step-NNNNNNNN.mp4` in the stage's work folder, with the portrait, the driver and the videos
side by side, and its control matrix in `film/scenes.json`; `evaluation.film.film` joins them. Imports no
torch.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from upath import UPath

from evaluation.config import SplitChoice
from evaluation.generation.files import GeneratedVideos
from evaluation.generation.generate import open_split, render_videos
from evaluation.generation.reenactment import Reenactment, ReenactmentPlan, VideoCounts, draw_plan
from evaluation.metrics.control.matrix import CHANGE
from evaluation.readings.face import SCORER
from evaluation.records import MODEL
from preprocessing.media.encoding import EncodeSettings, write_video
from preprocessing.schema import FRAMES_PER_SECOND
from storage.atomic import write_atomically
from storage.publishing import require_current
from training.data.index import ClipIndex
from training.jobs.job import TrainingJob
from training.stage_catalog import RENDERING_STAGE

FILM_FOLDER: Final = "film"
SCENES_NAME: Final = "scenes.json"
PANEL_PX: Final = 160
COUNTS: Final = VideoCounts(self_videos=1, cross_videos=0, control_bases=1, frames=24)
SEED: Final = 0
SPLITS: Final[tuple[SplitChoice, ...]] = ("test", "validation", "held_out_clips", "auto")
ENCODING: Final = EncodeSettings(constant_rate_factor=12)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scene:
    """One checkpoint of the film.

    Attributes:
        step: Of the checkpoint.
        steps: Of the whole stage.
        driver: What drives the video, in words.
        cells: Correlation by driver and measure, of protocol `control_change`; none with a single clip.
        score: Of that matrix: follow less leak.
    """

    step: int
    steps: int
    driver: str
    cells: tuple[tuple[str, str, float], ...] = field(default=())
    score: float | None = None


def add_scene(root: UPath, job: TrainingJob, checkpoint: Path) -> None:
    """Render the scene of a checkpoint of stage 3; a step that is repeated replaces its scene.

    Raises:
        ValueError: the data set has no clip to animate, or weights do not fit.
    """
    from training.jobs.plan import plan_stage

    step = int(checkpoint.name.removeprefix("step-"))
    index, plan = _open_plan(root)
    head = _head_of(root, job, checkpoint)
    folder = job.work / FILM_FOLDER
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory() as scratch:
        generated = render_videos(head, index, plan, Path(scratch))
        base = plan.of_task("self")[0]
        shown = next((video for video in plan.of_task("control") if video.changed() == "pose"), base)
        pictures = _side_by_side(generated, base, shown)
        write_video(scene_path(job.work, step), pictures, FRAMES_PER_SECOND, settings=ENCODING)
        cells, score = _matrix(generated)
    driver = "another clip turns the head" if shown is not base else "its own clip drives everything"
    steps = plan_stage(job.stage, job.config).trainer.steps
    scene = Scene(step, steps, driver, cells, score)
    kept = [known for known in read_scenes(job.work) if known.step < step]
    with write_atomically(folder / SCENES_NAME) as partial:
        partial.write_text(json.dumps([asdict(each) for each in [*kept, scene]], indent=1), "utf-8")


def read_scenes(work: Path) -> list[Scene]:
    """The scenes so far, in the order of steps."""
    path = work / FILM_FOLDER / SCENES_NAME
    if not path.is_file():
        return []
    return TypeAdapter(list[Scene]).validate_json(path.read_bytes())


def scene_path(work: Path, step: int) -> Path:
    """The pictures of a scene."""
    return work / FILM_FOLDER / f"step-{step:08d}.mp4"


def _open_plan(root: UPath) -> tuple[ClipIndex, ReenactmentPlan]:
    """Clips and videos of the first split with a second clip, which the matrix needs, else of the last."""
    dataset = require_current(root, "dataset", "whole").manifest.content_digest
    for choice in SPLITS:
        try:
            index = open_split(root, choice)
            plan = draw_plan(index, dataset, SEED, index.split, COUNTS)
        except ValueError:  # no clips, or none that is long enough
            if choice == SPLITS[-1]:
                raise
            continue
        if plan.of_task("control") or choice == SPLITS[-1]:
            return index, plan
    raise AssertionError("unreachable: the last choice returns or raises")


def _head_of(root: UPath, job: TrainingJob, checkpoint: Path) -> Any:
    import torch

    from evaluation.animation.loading import build_head
    from evaluation.animation.run_weights import RunWeights
    from training.engine.checkpoint import EMA_NAME, WEIGHTS_NAME
    from training.engine.stage_weights import StageWeights, read_weights
    from training.jobs.plan import plan_stage
    from training.jobs.worker import read_parents

    plan = plan_stage(RENDERING_STAGE, job.config)
    tensors = dict(read_weights(checkpoint / WEIGHTS_NAME).tensors)
    if (checkpoint / EMA_NAME).is_file():
        tensors |= read_weights(checkpoint / EMA_NAME).tensors
    stages = read_parents(root, RENDERING_STAGE, job.config)
    stages[RENDERING_STAGE] = StageWeights(str(checkpoint), tensors)
    weights = RunWeights(plan.networks, stages, plan.settings.windows, job.config.parents_run)
    on_gpu = job.config.device != "cpu" and torch.cuda.is_available()
    return build_head(str(checkpoint), weights, torch.device("cuda" if on_gpu else "cpu"))


def _side_by_side(
    generated: GeneratedVideos, base: Reenactment, shown: Reenactment
) -> Iterator[NDArray[np.uint8]]:
    """Portrait, driver, the person driven by its own clip, and by the driver."""
    driver = shown.drivers["pose"]
    portrait = _panel(generated.portrait(base.name))
    streams: Sequence[Iterator[NDArray[np.uint8]]] = (
        generated.clip_frames(driver, shown.frames),
        generated.model_frames(base),
        generated.model_frames(shown),
    )
    for pictures in zip(*streams, strict=False):
        yield np.concatenate([portrait, *map(_panel, pictures)], axis=1)


def _panel(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    is_smaller = picture.shape[0] < PANEL_PX
    how = cv2.INTER_CUBIC if is_smaller else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (PANEL_PX, PANEL_PX), interpolation=how), np.uint8)


def _matrix(generated: GeneratedVideos) -> tuple[tuple[tuple[str, str, float], ...], float | None]:
    """Cells and score of the control matrix of the model's videos."""
    from evaluation.readings.videos import read_everything
    from evaluation.suites.control import ControlTable, add_matrices

    if not generated.plan.of_task("control"):
        return (), None
    results = ControlTable()
    add_matrices(results, generated.plan, read_everything(generated, 0), SCORER)
    ours = [cell for cell in results.cells if (cell["method"], cell["protocol"]) == (MODEL, CHANGE)]
    cells: list[tuple[str, str, float]] = []
    for cell in ours:
        value = 0.0 if cell["still"] else cell["correlation"]
        if isinstance(value, float):
            cells.append((str(cell["driver"]), str(cell["measure"]), value))
    return tuple(cells), results.scores.get(f"{CHANGE} {MODEL}")
