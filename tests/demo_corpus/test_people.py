from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from demo_corpus.corpus import CorpusSettings, make_corpus
from demo_corpus.expression import FaceRig
from demo_corpus.people import (
    Person,
    build_person,
    draw_person,
    load_person,
    photo_pools,
    split_of,
)
from demo_corpus.portraits import BUNDLED
from demo_corpus.rendering.camera import Camera
from demo_corpus.rendering.look import draw_look
from demo_corpus.scene import draw_scene, render_cross_driven, render_frames, scene_truth
from demo_corpus.speech import Voice
from demo_corpus.truth import CONTROL_COLUMNS, filming_camera, read_truth, write_truth

VOICE = Voice(pitch_hz=120.0, tract=1.0)


def people(count: int, seed: int = 1) -> list[Person]:
    return [draw_person(seed, number, BUNDLED) for number in range(count)]


@pytest.mark.parametrize(("count", "validation", "test"), [(12, 2, 2), (52, 6, 6), (200, 21, 20)])
def test_about_every_fifth_person_is_held_out(count: int, validation: int, test: int) -> None:
    splits = [split_of(number) for number in range(count)]
    assert (splits.count("validation"), splits.count("test")) == (validation, test)


def test_splits_share_no_photo() -> None:
    photos: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for person in people(200):
        photos[person.split].update(person.photos)
    assert sorted(map(len, photos.values())) == [2, 2, 5]
    assert len(set.union(*photos.values())) == len(BUNDLED)
    assert {person.split for person in people(200) if person.name.startswith("demo-test-")} == {"test"}


@pytest.mark.parametrize("count", range(12))
def test_photo_pools_cover_every_photo_once(count: int) -> None:
    pools = photo_pools(count)
    assert sorted(photo for pool in pools.values() for photo in pool) == list(range(count))
    assert all(map(len, pools.values())) or count < 3


def test_two_photos_make_trained_people_only() -> None:
    assert {draw_person(0, number, [Path("a"), Path("b")]).split for number in range(12)} == {"train"}


def test_people_of_another_seed_look_different() -> None:
    first, second = draw_person(1, 3, BUNDLED), draw_person(2, 3, BUNDLED)
    assert first.name == second.name
    assert not np.array_equal(draw_look(first.seed, 2).reshape, draw_look(second.seed, 2).reshape)


def frames_of(rig: FaceRig, seed: int = 4) -> list[NDArray[np.uint8]]:
    scene = draw_scene(seed, VOICE, 0.4)
    return list(render_frames(rig, Camera(96), scene_truth(scene, rig), range(2)))


def test_people_of_the_same_photos_differ() -> None:
    by_photos: dict[tuple[str, ...], list[Person]] = {}
    for person in people(40):
        by_photos.setdefault(person.photos, []).append(person)
    first, second = next(pair for pair in by_photos.values() if len(pair) > 1)[:2]
    rigs = [build_person(person, BUNDLED) for person in (first, second)]
    assert np.abs(rigs[0].head.vertices_cm - rigs[1].head.vertices_cm).max() > 0.1
    pictures = [frames_of(rig)[0].astype(int) for rig in rigs]
    assert np.abs(pictures[0] - pictures[1]).mean() > 15


def test_larger_corpus_keeps_its_people_and_videos(tmp_path: Path) -> None:
    settings = CorpusSettings(people=1, videos=1, seconds_per_video=0.2, side_px=64, workers=0)
    (video,) = make_corpus(tmp_path, settings)
    before = video.video.stat().st_mtime_ns
    more = make_corpus(tmp_path, settings.replace(people=3, videos=2))
    assert len(more) == 6
    assert {item.identity for item in more} == {"demo-0000", "demo-0001", "demo-validation-0002"}
    assert video.video.stat().st_mtime_ns == before
    rig = load_person(tmp_path, "demo-0000")
    assert np.array_equal(rig.head.texture, build_person(draw_person(0, 0, BUNDLED), BUNDLED).head.texture)
    with pytest.raises(ValueError, match="no person 'nobody'"):
        load_person(tmp_path, "nobody")


def test_own_truth_gives_the_own_frames(tmp_path: Path) -> None:
    rig = build_person(draw_person(1, 0, BUNDLED), BUNDLED)
    camera = Camera(96)
    tables = []
    for seed in (4, 5):
        columns = scene_truth(draw_scene(seed, VOICE, 0.8), rig)
        write_truth(tmp_path / f"{seed}.parquet", columns, camera, "")
        tables.append(read_truth(tmp_path / f"{seed}.parquet"))
    columns = scene_truth(draw_scene(4, VOICE, 0.8), rig)
    video = list(render_frames(rig, camera, columns, range(20)))
    own = dict.fromkeys(CONTROL_COLUMNS, tables[0])
    driven = render_cross_driven(rig, filming_camera(tables[0]), own, range(20))
    assert all(np.array_equal(*pair) for pair in zip(video, driven, strict=True))
    for control in CONTROL_COLUMNS:
        other = list(render_cross_driven(rig, camera, own | {control: tables[1]}, range(10, 20)))
        assert not np.array_equal(np.stack(other), np.stack(video[10:]))
    with pytest.raises(ValueError, match="truths must be for lip, pose, eye, expression, got lip"):
        next(render_cross_driven(rig, camera, {"lip": tables[0]}, range(1)))
