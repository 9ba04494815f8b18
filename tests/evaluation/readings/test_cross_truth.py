"""True pictures of cross-driven videos on a rendered corpus."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from demo_corpus.corpus import CorpusSettings, make_corpus
from demo_corpus.expression import FaceRig
from demo_corpus.rendering.camera import Camera
from demo_corpus.truth import read_truth
from evaluation.controls import CONTROLS, Control
from evaluation.generation.files import ClipFacts, GeneratedVideos, VideoFacts, video_frames
from evaluation.generation.reenactment import Reenactment, ReenactmentPlan
from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo
from evaluation.metrics.pictures.psnr_ssim import PSNR_CROSS_TRUTH, measure_psnr_cross_truth
from evaluation.readings import cross_truth
from evaluation.readings.cross_truth import NOT_RENDERED, CrossTruth, align
from evaluation.readings.demo_truth import truth_path

FRAMES, FIRST = 8, 3
OWN: dict[Control, str] = dict.fromkeys(CONTROLS, "a")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> CrossTruth:
    folder = tmp_path_factory.mktemp("corpus")
    # The crop follows the mouth: this seed's mouths differ by more than that moves the forehead.
    settings = CorpusSettings(people=2, videos=1, seed=7, seconds_per_video=1.0, side_px=256, workers=0)
    videos = [made.video for made in make_corpus(folder, settings)]
    sources = dict(zip("ab", videos, strict=True))
    opening = {
        key: read_truth(truth_path(source))["mouth_opening_cm"].to_numpy() for key, source in sources.items()
    }
    windows = np.lib.stride_tricks.sliding_window_view(opening["b"], FRAMES)
    apart = np.abs(windows - opening["a"][FIRST : FIRST + FRAMES]).mean(axis=1)
    firsts = {"a": FIRST, "b": int(apart.argmax())}  # where their mouths differ most
    clips = {key: ClipFacts(key, key, f"{key}.mp4", firsts[key], FRAMES) for key in sources}
    plan = ReenactmentPlan("p", 0, "test", "d", (Reenactment("cross-00", "cross", "a", 0, OWN, FRAMES),))
    return CrossTruth(GeneratedVideos(folder, plan, VideoFacts("toy", 64, clips)), sources)


def own(truth: CrossTruth) -> Reenactment:
    return truth.generated.plan.named("cross-00")


def clip(truth: CrossTruth) -> list[NDArray[np.uint8]]:
    """The crops of clip a as its video shows it."""
    return align([*video_frames(truth.sources["a"], FIRST + FRAMES)][FIRST:], "a")


def difference(a: list[NDArray[np.uint8]], b: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """[224] mean absolute difference of each row, over frames."""
    return np.abs(np.stack(a).astype(float) - np.stack(b)).mean(axis=(0, 2, 3))


def test_truth_of_a_clip_that_drives_itself_is_the_clip(truth: CrossTruth) -> None:
    assert truth.missing_because == ""
    assert difference(truth.crops(own(truth)), clip(truth)).mean() < 4  # the video's compression


def test_every_driver_starts_at_its_clips_first_frame(
    truth: CrossTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, pa.Table] = {}

    def render(rig: FaceRig, camera: Camera, truths: dict[str, pa.Table], frames: range) -> list[Any]:
        assert isinstance(rig, FaceRig)
        assert (camera.side_px, frames) == (256, range(FRAMES))
        given.update(truths)
        return []

    monkeypatch.setattr(cross_truth, "render_cross_driven", render)
    with pytest.raises(ValueError, match="cross-00: the mesh finds no face"):
        truth.crops(replace(own(truth), drivers={**OWN, "lip": "b"}))
    first = truth.generated.facts.clips["b"].first_frame
    assert given["lip"]["frame"].to_pylist() == list(range(first, first + FRAMES))
    for control in ("pose", "eye", "expression"):
        assert given[control]["frame"].to_pylist() == list(range(FIRST, FIRST + FRAMES))


def test_another_driver_changes_the_picture(truth: CrossTruth) -> None:
    base = truth.crops(own(truth))
    lip = difference(truth.crops(replace(own(truth), drivers={**OWN, "lip": "b"})), base)
    assert lip[120:].mean() > 1.5 * lip[:70].mean() > 1  # the mouth, and the alignment, which follows it


def test_truth_shorter_than_the_clip_is_rejected(truth: CrossTruth) -> None:
    with pytest.raises(ValueError, match=r"truth\.parquet has 25 frames, need 43"):
        truth.crops(replace(own(truth), frames=40))


def test_pictures_of_no_corpus_are_missing_with_a_reason(truth: CrossTruth, tmp_path: Path) -> None:
    assert CrossTruth(truth.generated, {}).missing_because == NOT_RENDERED
    elsewhere = CrossTruth(truth.generated, {"a": tmp_path / "corpus" / "anna" / "a.mp4"})
    assert elsewhere.missing_because == f"no people.json in {tmp_path / 'corpus'}: render the corpus again"
    still = PictureVideo([np.zeros((16, 16, 3), np.uint8)], lambda _: np.zeros((1, 478, 3), np.float32))
    unknown = measure_psnr_cross_truth(still, PictureReference(still, no_cross_truth="no corpus"))
    assert (unknown.value, unknown.missing_because) == (None, "no corpus")
    grey = PictureVideo([np.full((16, 16, 3), 51, np.uint8)], still.find_landmarks)
    known = measure_psnr_cross_truth(still, PictureReference(still, cross_truth=grey))
    assert known.value == pytest.approx(20 * np.log10(5))
    assert PSNR_CROSS_TRUTH.applies_to("cross", "model")
    assert not PSNR_CROSS_TRUTH.applies_to("self", "model")
