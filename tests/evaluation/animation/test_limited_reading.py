"""Files that are read in a process with limits."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.animation.animate import read_inputs
from evaluation.animation.limited_reading import LimitedReader
from evaluation.animation.media import UnusableInputError
from evaluation.animation.request import AnimateRequest
from preprocessing.worker_limits import WorkerLimits
from tests.factories.preprocessing.videos import write_face_video

AT_ONCE = WorkerLimits(cpu_hours=1e-6)


@pytest.fixture
def request_(tmp_path: Path) -> AnimateRequest:
    video = tmp_path / "talk.mp4"
    write_face_video(video, 12)
    return AnimateRequest(appearance=video, lip=video, pose=video, output=tmp_path / "out.mp4")


def test_inputs_are_the_same_as_read_without_limits(request_: AnimateRequest) -> None:
    with LimitedReader(WorkerLimits()) as reader:
        limited = read_inputs(request_, limited=reader)
    free = read_inputs(request_)
    assert limited.frames == free.frames
    np.testing.assert_array_equal(limited.portrait, free.portrait)
    assert limited.sound is not None
    assert free.sound is not None
    np.testing.assert_array_equal(limited.sound, free.sound)
    crops = zip(limited.faces["pose"].crops(12), free.faces["pose"].crops(12), strict=True)
    assert all(np.array_equal(one, other) for one, other in crops)


def test_a_file_that_takes_too_much_is_refused(request_: AnimateRequest) -> None:
    with LimitedReader(AT_ONCE) as reader:
        for read in (reader.crop, reader.read_sound, reader.follow):
            with pytest.raises(UnusableInputError, match=r"talk\.mp4: reading it was ended: "):
                read(request_.appearance)
