"""The job `animate`: its form, what it shows, and what it says of bad input."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dagster import DagsterEventType, DagsterInstance, ExecuteInProcessResult, JobDefinition, RetryPolicy, job
from PIL import Image

from evaluation.animation.request import AnimateProgress, AnimateRequest, Strengths
from evaluation.animation.sheets import draw_frame_sheet
from pipelines.definitions import definitions
from pipelines.evaluation.animate_job import AnimateConfig, ProgressLines, animate_portrait
from pipelines.resources import WorkspaceResource
from preprocessing.media.encoding import write_video
from preprocessing.media.jpeg import decode_jpeg
from tests.factories.evaluation.head_files import publish_toy_run
from tests.factories.preprocessing.videos import face_pictures, voice


def run(
    root: Path, order: Mapping[str, Any], instance: DagsterInstance, job: JobDefinition
) -> ExecuteInProcessResult:
    return job.execute_in_process(
        instance=instance,
        run_config={
            "ops": {"animate_portrait": {"config": {"device": "cpu", **order}}},
            "resources": {"workspace": {"config": {"root": str(root)}}},
        },
        raise_on_error=False,
    )


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, str]:
    (face,) = face_pictures(1)
    Image.fromarray(face).save(tmp_path / "face.png")
    soundfile.write(tmp_path / "speech.wav", voice(6, 1), 16_000)
    return {
        "appearance": str(tmp_path / "face.png"),
        "lip": str(tmp_path / "speech.wav"),
        "output": str(tmp_path / "made" / "out.mp4"),
        "checkpoint": "toy",
    }


def test_the_form_has_the_commands_fields_with_descriptions() -> None:
    asked = AnimateRequest.model_fields.keys() - {"official_networks", "frames_at_once"}
    form = AnimateConfig.model_fields
    assert set(form) == asked
    assert all(entry.description for entry in form.values())
    assert not any(entry.is_required() for entry in form.values())  # every line is shown
    with pytest.raises(ValueError, match=r"^appearance is required; output is required$"):
        AnimateConfig().to_settings()


def test_a_filled_form_is_an_order_and_an_empty_path_is_none() -> None:
    strengths = {"pose": 0.5, "gaze": 0.0}
    paths = {"appearance": "face.png", "output": "out.mp4", "lip": "", "eye": "~/eye.mp4"}
    values = {**paths, "strengths": strengths, "neutral": "zero", "seconds": 2.0}
    assert AnimateConfig.model_validate(values).to_settings() == AnimateRequest(
        appearance=Path("face.png"),
        output=Path("out.mp4"),
        eye=Path.home() / "eye.mp4",
        strengths=Strengths(pose=0.5, gaze=0.0),
        neutral="zero",
        seconds=2.0,
    )


@pytest.mark.usefixtures("toy_presets")
def test_job_shows_the_video_its_sheet_and_notes(tmp_path: Path, inputs: dict[str, str]) -> None:
    publish_toy_run(tmp_path / "root", "toy")
    with DagsterInstance.ephemeral() as instance:
        result = run(
            tmp_path / "root",
            {**inputs, "strengths": {"lip": 1.5}},
            instance,
            definitions.resolve_job_def("animate"),
        )
        assert result.success
        (output,) = [event for event in result.all_events if event.event_type == DagsterEventType.STEP_OUTPUT]
    shown = output.step_output_data.metadata
    assert shown["video"].value == inputs["output"]
    assert Path(inputs["output"]).is_file()
    assert (shown["frames"].value, shown["side (px)"].value) == (6, 32)
    assert shown["duration (s)"].value == 0.24
    assert "frames per second" in shown
    assert shown["notes"].value == "- no driver for pose, eye, expression: neutral"
    assert str(shown["picture: contact sheet"].value).startswith("[![picture](/files/pictures/animate/")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"appearance": "/nowhere/face.png"}, "no file /nowhere/face.png"),
        ({"output": "out.avi"}, "out.avi: output files must end in .mp4"),
        ({"strengths": {"pose": 9.0}}, "strengths.pose must be <= 5, got 9.0"),
    ],
)
def test_invalid_request_is_one_line_and_not_retried(
    tmp_path: Path, inputs: dict[str, str], change: dict[str, Any], message: str
) -> None:
    @job(op_retry_policy=RetryPolicy(max_retries=2), resource_defs={"workspace": WorkspaceResource()})
    def patient() -> None:
        animate_portrait()

    with DagsterInstance.ephemeral() as instance:
        result = run(tmp_path / "root", inputs | change, instance, patient)
    failed = result.failure_data_for_node("animate_portrait")
    assert failed is not None
    assert failed.user_failure_data is not None
    assert failed.user_failure_data.description == message
    assert DagsterEventType.STEP_UP_FOR_RETRY not in {event.event_type for event in result.all_events}


def test_progress_is_a_few_lines() -> None:
    class Log:
        lines: list[str] = []  # noqa: RUF012  (of this test)

        def info(self, form: str, *values: object) -> None:
            self.lines.append(form % values)

    class Context:
        log = Log()

    lines = ProgressLines(Context())  # type: ignore[arg-type]
    for done in range(1, 41):
        lines(AnimateProgress("making frames", done, 40))
    for done in range(1, 202):
        lines(AnimateProgress("following", done, None))
    made = [line for line in Log.lines if line.startswith("making")]
    followed = [line for line in Log.lines if line.startswith("following")]
    assert made[-1] == "making frames: 40 of 40 frames"
    assert len(made) == 11
    assert followed == ["following: 1 frames", "following: 100 frames", "following: 200 frames"]


def test_a_sheet_shows_frames_over_the_whole_length(tmp_path: Path) -> None:
    shades = [np.full((32, 96, 3), 5 * number, np.uint8) for number in range(50)]
    write_video(tmp_path / "ramp.mp4", shades, 25)
    sheet = decode_jpeg(draw_frame_sheet(tmp_path / "ramp.mp4", 50, count=2))
    first, second = sheet[:, 8 + 165], sheet[:, 8 + 338 + 165]  # beside each other
    # Frames 0 and 25 of the ramp, whose shades are 0 and 125.
    assert (np.abs(first.astype(int) - 0).max(axis=1) < 12).sum() >= 100
    assert (np.abs(second.astype(int) - 125).max(axis=1) < 12).sum() >= 100
    with pytest.raises(ValueError, match="ends before frame 50 of 100"):
        draw_frame_sheet(tmp_path / "ramp.mp4", 100)
