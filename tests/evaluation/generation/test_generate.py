"""From a trained run and its data set to published videos."""

from collections.abc import Generator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from upath import UPath

from evaluation.animation import checkpoint_abilities
from evaluation.animation.exported_model import export_run
from evaluation.config import EvaluationConfig
from evaluation.generation.cached_head import CachedTalkingHead
from evaluation.generation.driving_clips import ClipReader, DrivingClip
from evaluation.generation.files import CONTACT_SHEET, GeneratedVideos, open_generated
from evaluation.generation.generate import open_or_draw_plan, open_split, run_generated_videos
from evaluation.generation.reenactment import write_plan
from evaluation.metrics.lip_sync.lip_encoders import load_lip_encoders
from evaluation.records import (
    COPY_PORTRAIT,
    COPY_TARGET,
    GROUND_TRUTH,
    MODEL,
)
from storage.fingerprint import file_sha256
from storage.manifest import Input
from storage.publishing import Published
from storage.root import open_root
from tests.factories.evaluation.evaluation_root import TOY_EVALUATION, evaluation_root
from tests.factories.evaluation.pixel_head import colour, pixel_head
from tests.factories.training.data import MadeClip
from tests.factories.training.toy_run import publish_data_set
from training.data.index import Split, open_current


def run(root: UPath, config: EvaluationConfig = TOY_EVALUATION) -> Published:
    return run_generated_videos(root, config)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Generator[UPath]:
    with evaluation_root(tmp_path_factory.mktemp("evaluation") / "root") as made:
        yield made


def test_generated_videos_are_complete_and_not_rebuilt(root: UPath) -> None:
    published = run(root)
    assert published.manifest.counts == {
        "videos": 8,
        "self_videos": 3,
        "cross_videos": 1,
        "control_videos": 4,
        "clips": 3,
        "frames": sum(one.frames for one in open_or_draw_plan(root, TOY_EVALUATION)[1].reenactments),
    }
    assert set(published.manifest.inputs) == {
        "dataset",
        "stage1_motion",
        "stage2_lip",
        "stage2_eye",
        "stage2_pose",
        "stage3_expression",
    }
    made = open_generated(root, "toy")[1]
    for one in made.plan.reenactments:
        with av.open(str(made.video(one.name))) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.frames, stream.average_rate) == (32, one.frames, 25)
            assert container.streams.audio
    assert sorted(path.stem for path in (made.folder / "clips").iterdir()) == sorted(made.plan.clips())
    with Image.open(made.folder / CONTACT_SHEET) as sheet:
        assert sheet.width > 700
    assert run(root).reason == "nothing to do: same inputs, code version and settings"


def test_starter_model_is_evaluated_like_a_run(root: UPath, tmp_path: Path) -> None:
    file, config = tmp_path / "starter.safetensors", TOY_EVALUATION.replace(run="starter", control_bases=0)
    export_run(root, "toy", file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_abilities, "STARTER_FILE", file)
        published = run(root, config)
        assert published.manifest.inputs["stage3_expression"] == Input(file_sha256(file))
        assert open_generated(root, "starter")[1].facts.checkpoint == "the starter model"
        assert load_lip_encoders(root, "starter").name.startswith("lip_encoders:starter:")
        file.unlink()
        with pytest.raises(FileNotFoundError, match=r"^the starter model is missing: no file"):
            run(root, config)


def test_auto_split_takes_held_out_people_first(root: UPath) -> None:
    # The toy data set has no test people, and two of validation.
    plan = open_or_draw_plan(root, TOY_EVALUATION.replace(split="auto"))[1]
    assert (plan.split, plan.where) == ("validation", "validation split, people never trained on")


@pytest.mark.parametrize(
    ("splits", "taken"),
    [
        (["train", "test", "validation", "validation"], "validation"),  # the one of test drives nothing
        (["train", "train", "test"], "test"),  # rather than what was trained on
    ],
)
def test_auto_split_takes_clips_that_can_drive_each_other(
    tmp_path: Path, splits: list[Split], taken: str
) -> None:
    clips = [MadeClip(f"person {number}", split, 0, 10) for number, split in enumerate(splits)]
    assert open_split(publish_data_set(tmp_path / "root", clips), "auto").split == taken


def test_unusable_weights_fail_before_rendering(root: UPath) -> None:
    for setting in (name for name in EvaluationConfig.model_fields if name.endswith("_weights")):
        config = TOY_EVALUATION.replace(run="toy", self_videos=2, **{setting: "nowhere.pth"})
        with pytest.raises(FileNotFoundError, match=f"^{setting}: no file nowhere.pth, and no weights of"):
            run(root, config)


def test_other_counts_make_the_videos_stale(root: UPath) -> None:
    published = run(root, TOY_EVALUATION.replace(self_videos=1, cross_videos=0, control_bases=0))
    assert published.built
    assert published.manifest.counts["videos"] == 1
    assert run(root).reason.startswith("nothing to do: built before, made current again")


def test_method_frames_are_at_the_networks_side(root: UPath) -> None:
    run(root)
    made = open_generated(root, "toy")[1]
    self_video, cross_video = made.plan.of_task("self")[0], made.plan.of_task("cross")[0]
    rows = {
        row: pictures(made, self_video.name, row) for row in (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)
    }
    assert {stack.shape for stack in rows.values()} == {(self_video.frames, 32, 32, 3)}
    assert np.array_equal(rows[GROUND_TRUTH], rows[COPY_TARGET])
    # H.264 near its best: the portrait is the first frame of the clip, as a PNG.
    assert np.abs(rows[COPY_PORTRAIT][0].astype(int) - rows[GROUND_TRUTH][0]).mean() < 3
    assert np.array_equal(rows[COPY_PORTRAIT][0], rows[COPY_PORTRAIT][-1])
    assert made.method_frames(cross_video, GROUND_TRUTH) is None


def pictures(made: GeneratedVideos, name: str, method: str) -> NDArray[np.uint8]:
    frames = made.method_frames(made.plan.named(name), method)
    assert frames is not None
    return np.stack(list(frames))


def test_plan_file_is_reused_or_rejected_for_other_data(root: UPath, tmp_path: Path) -> None:
    plan = open_or_draw_plan(root, TOY_EVALUATION)[1]
    write_plan(tmp_path / "list.json", plan)
    again = EvaluationConfig(run="toy", plan_file=str(tmp_path / "list.json"))
    assert open_or_draw_plan(root, again)[1] == plan
    text = (tmp_path / "list.json").read_text()
    (tmp_path / "list.json").write_text(text.replace(plan.reenactments[0].portrait, "gone"))
    with pytest.raises(ValueError, match=r"the data set's split train lacks 1 of 3 clips .* such as gone"):
        open_or_draw_plan(root, again)


def test_missing_inputs_fail_before_rendering(root: UPath) -> None:
    with pytest.raises(
        ValueError, match=r"no clips to evaluate: .*no clip in split test; .*Choose another split"
    ):
        run(root, TOY_EVALUATION.replace(split="test"))
    with pytest.raises(
        ValueError, match=r"run 'nobody' has not trained stage3_expression .*; runs that have: toy"
    ):
        run(root, TOY_EVALUATION.replace(run="nobody"))
    with pytest.raises(ValueError, match="run 'nobody' has no generated videos"):
        open_generated(root, "nobody")


def test_clip_has_its_sound_and_rejects_too_many_frames(root: UPath) -> None:
    index = open_current(root, "train")
    clip: DrivingClip = ClipReader(index).read(index.key(0))
    assert len(list(clip.crops(12))) == 12
    assert len(clip.sound_of(5)) == 5 * 640
    with pytest.raises(ValueError, match="has 12 frames, need 13"):
        list(clip.crops(13))


def test_cached_head_encodes_once_with_equal_codes() -> None:
    head, networks = pixel_head()
    cached = CachedTalkingHead(head)
    crops = [colour(10, 20, 30), colour(40, 50, 60), colour(10, 20, 30)]
    first = cached.motion(crops)
    again = cached.motion([np.array(crop) for crop in crops[::-1]])
    assert networks.encoded == 2
    assert first.pose.equal(again.pose.flip(0))
    assert first.expression.equal(head.motion(crops).expression)
    mels = np.linspace(0, 1, 2 * 80 * 20, dtype=np.float32).reshape(2, 1, 80, 20)
    assert cached.lip(mels[[1, 0, 1]]).equal(head.lip(mels)[[1, 0, 1]])


def test_missing_run_is_told_first_with_those_that_exist(tmp_path: Path) -> None:
    message = r"^run 'nobody' has not trained stage3_expression under .*; runs that have: none$"
    with pytest.raises(ValueError, match=message):
        run_generated_videos(open_root(str(tmp_path)), EvaluationConfig(run="nobody"))
