"""A portrait and drivers of five people, from files to a video, with networks of random weights."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.animation.animate import animate
from evaluation.animation.drivers import FaceFollower
from evaluation.animation.media import read_pictures, read_sound
from evaluation.animation.request import AnimateRequest
from storage.root import open_root
from tests.factories.evaluation.head_files import write_released_tiny

pytestmark = [pytest.mark.real, pytest.mark.slow]


def clip_of(folder: Path, person: str) -> Path:
    return min((folder / "videos" / person).iterdir())


def panel(picture: NDArray[np.uint8], number: int) -> NDArray[np.float64]:
    return picture[24:, 224 * number : 224 * (number + 1)].astype(np.float64)


def test_sound_and_every_driver_are_in_step_with_the_video(shared_clips: Path, tmp_path: Path) -> None:
    """MPEG with B frames, H.264 at 22.131 fps, at 30 fps, and a still; the sound of a fifth file."""
    write_released_tiny(tmp_path / "released")
    expression = clip_of(shared_clips, "person-ab")
    request = AnimateRequest(
        appearance=shared_clips / "stills" / "person-bk__single_face.jpg",
        output=tmp_path / "out.mp4",
        grid=tmp_path / "grid.mp4",
        lip=clip_of(shared_clips, "person-m"),
        pose=clip_of(shared_clips, "person-a"),
        eye=clip_of(shared_clips, "person-y"),
        expression=expression,
        checkpoint=str(tmp_path / "released"),
        official_networks="tiny",
        device="cpu",
        seconds=2.0,
    )
    report = animate(request, root=open_root(str(tmp_path / "root")))
    assert (report.frames, report.notes) == (50, ())
    assert request.lip is not None
    source, made = read_sound(request.lip)[:32_000], read_sound(request.output)[:32_000]
    lags = np.arange(-800, 801)
    padded = np.pad(made, 800)
    match = [float(source @ padded[800 + lag : 800 + lag + len(source)]) for lag in lags]
    assert abs(int(lags[int(np.argmax(match))])) <= 16  # 1 ms
    with FaceFollower() as follower:
        crops = [crop.astype(np.float64) for crop in follower.follow(expression, 60).crops(54)]
    for number, frame in enumerate(read_pictures(request.grid or request.output)):
        if number % 7 == 3:
            shown = panel(frame.image, 4)
            near = range(max(0, number - 3), number + 4)
            distances = [float(np.abs(shown - crops[other]).mean()) for other in near]
            # A still moment repeats itself; none of the frames around is nearer.
            assert distances[number - near.start] <= min(distances) + 0.05, number
    with av.open(str(request.output)) as container:
        assert container.streams.video[0].frames == 50


def test_two_people_on_a_portrait_are_refused(shared_clips: Path) -> None:
    picture = shared_clips / "stills" / "two-people__two_people.jpg"
    with FaceFollower() as follower, pytest.raises(ValueError, match="shows two faces of similar size"):
        follower.follow(picture)


def test_every_still_of_one_person_is_a_portrait(shared_clips: Path) -> None:
    with FaceFollower() as follower:
        for picture in sorted((shared_clips / "stills").glob("person-*.jpg")):
            crop = next(follower.follow(picture).crops(1))
            assert crop.std() > 20, picture.name


@pytest.mark.parametrize("name", ["grid.heic", "gray16.png"])
def test_portrait_as_a_phone_or_scanner_writes_it(name: str, shared_clips: Path) -> None:
    picture = shared_clips.parent / "cases" / "pictures" / name
    if not picture.is_file():
        pytest.skip("no cases beside the real clips")
    with FaceFollower() as follower:
        crop = follower.crop(picture)
    assert crop.shape == (224, 224, 3)
    assert 60 < crop.mean() < 200
