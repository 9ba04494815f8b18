"""The training film: a scene for each checkpoint, joined to a film with the control matrix beside it."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evaluation.film.scenes as scenes_module
from evaluation.animation.media import read_pictures
from evaluation.film.film import (
    FILM_FOLDER,
    FILM_NAME,
    FOLLOWS,
    NARROW_PX,
    PICTURE_NAME,
    draw_page,
    narrowed,
    write_film,
)
from evaluation.film.scenes import SCENES_NAME, Scene, add_scene, read_scenes, scene_path
from storage.publishing import require_current
from storage.root import local_copy
from tests.factories.evaluation.evaluation_root import evaluation_root
from training.engine.checkpoint import EMA_NAME, WEIGHTS_NAME
from training.jobs.job import TrainingJob
from training.jobs.stage_run import JOB_NAME
from training.stage_catalog import RENDERING_STAGE

SCENE = Scene(20, 40, "", (("pose", "yaw", 1.0), ("lip", "yaw", 0.0)), 0.5)


def test_film_has_a_scene_of_every_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes_module, "SPLITS", ("test", "train"))  # the toy's test split has one clip
    with evaluation_root(tmp_path / "root") as root:
        trained = local_copy(require_current(root, RENDERING_STAGE, "toy").directory)
        job = TrainingJob.read(trained / JOB_NAME).replace(work=tmp_path / "work", root=str(root))
        (job.work / FILM_FOLDER).mkdir(parents=True)
        stale = json.dumps([asdict(replace(SCENE, step=4))])  # of a run that was resumed before it
        (job.work / FILM_FOLDER / SCENES_NAME).write_text(stale)
        for step in (2, 4):
            checkpoint = tmp_path / f"step-{step:08d}"
            checkpoint.mkdir()
            for name in (WEIGHTS_NAME, EMA_NAME):
                shutil.copy(trained / name, checkpoint / name)
            add_scene(root, job, checkpoint)
    scenes = read_scenes(job.work)
    assert [scene.step for scene in scenes] == [2, 4]
    assert scenes[1].driver == "another clip turns the head"
    frames = len([*read_pictures(scene_path(job.work, 4))])
    assert frames > 5
    write_film(job.work)
    film = [frame.image for frame in read_pictures(job.work / FILM_FOLDER / FILM_NAME)]
    assert len(film) == 2 * frames
    assert film[0].shape == draw_page(SCENE, [SCENE]).shape
    with Image.open(job.work / FILM_FOLDER / PICTURE_NAME) as picture:
        assert (picture.format, getattr(picture, "n_frames", 1) > 2) == ("WEBP", True)
        assert picture.width == NARROW_PX


def test_narrow_frame_keeps_the_matrix() -> None:
    page = draw_page(SCENE, [SCENE])
    narrow = np.asarray(narrowed(page))
    assert narrow.shape[1] == NARROW_PX
    assert (np.all(narrow == FOLLOWS, axis=-1).sum()) == np.all(page == FOLLOWS, axis=-1).sum()


def test_page_colours_what_follows_and_draws_the_scores_so_far() -> None:
    first = replace(SCENE, step=0, cells=(("pose", "yaw", 0.0),), score=-0.5)
    before, after = draw_page(first, [first]), draw_page(SCENE, [first, SCENE])
    green = np.all(after == FOLLOWS, axis=-1).sum() - np.all(before == FOLLOWS, axis=-1).sum()
    assert green > 38 * 24 // 2  # the whole cell, and the curve
    alone = draw_page(replace(SCENE, cells=(), score=None), [])
    assert np.all(alone != FOLLOWS, axis=-1).any()


def test_film_needs_a_scene(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no scenes in"):
        write_film(tmp_path)
