from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo_corpus.corpus import CorpusSettings, make_corpus
from demo_corpus.portraits import BUNDLED, PortraitPlace, load_bundled, load_portrait


@pytest.mark.parametrize("place", BUNDLED, ids=lambda place: f"{place.package}-{place.centre_x_px}")
def test_bundled_portraits_show_a_central_face(place: PortraitPlace) -> None:
    portrait = load_bundled(place)
    middle = portrait.landmarks_px[:, :2].mean(axis=0)
    assert np.abs(middle - portrait.image.shape[0] / 2).max() < 0.15 * portrait.image.shape[0]


def test_portrait_without_a_face_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.new("RGB", (200, 200), (128, 128, 128)).save(path)
    with pytest.raises(ValueError, match=r"grey\.png shows no faces"):
        load_portrait(path)


def test_portrait_with_two_faces_is_refused(tmp_path: Path) -> None:
    face = load_bundled(BUNDLED[0]).image[120:520, 120:520]
    path = tmp_path / "pair.png"
    Image.fromarray(np.hstack([face, face])).save(path)
    with pytest.raises(ValueError, match=r"pair\.png shows 2 faces"):
        load_portrait(path)


def test_portrait_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    settings = CorpusSettings(people=1, seconds_per_video=0.4, side_px=128, portraits=(path,), workers=0)
    with pytest.raises(ValueError, match=r"notes\.png is not a picture"):
        make_corpus(tmp_path / "corpus", settings)


def test_missing_portrait_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.jpg: no such file"):
        make_corpus(tmp_path, CorpusSettings(portraits=(tmp_path / "gone.jpg",)))


def test_portrait_is_cropped_around_its_face(tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    Image.fromarray(load_bundled(BUNDLED[0]).image).save(path)
    portrait = load_portrait(path)
    assert np.abs(portrait.landmarks_px[:, :2].mean(axis=0) - portrait.image.shape[0] / 2).max() < 60
