"""From files to a video, and what is said when one is of no use."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from PIL import Image

from evaluation.animation.animate import animate
from evaluation.animation.media import read_sound
from evaluation.animation.request import AnimateProgress, AnimateRequest, Strengths
from pipelines.cli.main import main
from storage.root import open_root
from tests.factories.evaluation.head_files import publish_toy_run, write_released_tiny
from tests.factories.preprocessing.videos import face_pictures, write_face_video


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_released_tiny(folder / "released")
    (face,) = face_pictures(1)
    Image.fromarray(face).save(folder / "face.png")
    write_face_video(folder / "driver.mp4", 14)
    sound = np.zeros(10 * 640, np.float32)
    sound[4 * 640 :] = 0.3 * np.sin(0.3 * np.arange(1, 6 * 640 + 1))
    soundfile.write(folder / "speech.wav", sound, 16_000)
    return folder


def request(files: Path, output: Path, **changes: object) -> AnimateRequest:
    fields = {"checkpoint": str(files / "released"), "device": "cpu", "official_networks": "tiny"}
    return AnimateRequest(appearance=files / "face.png", output=output, **(fields | changes))  # type: ignore[arg-type]


def run(files: Path, tmp_path: Path, *arguments: str | Path) -> Result:
    root = {"PDFGC_ROOT": str(tmp_path / "root")}
    command = ["animate", "--device", "cpu", *map(str, arguments)]
    if "--checkpoint" not in command:
        command += ["--checkpoint", "toy"]
    if "--appearance" not in command:
        command += ["--appearance", str(files / "face.png")]
    return CliRunner().invoke(main, [*command, "-o", str(tmp_path / "out.mp4")], env=root)


def test_video_has_the_length_and_start_of_the_sound(files: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in files.glob("*.*")}
    messages: list[AnimateProgress] = []
    video, grid = tmp_path / "made" / "out.mp4", tmp_path / "made" / "grid.mp4"
    drivers = {"lip": files / "speech.wav", "pose": files / "driver.mp4", "eye": files / "face.png"}
    report = animate(
        request(files, video, grid=grid, **drivers), messages.append, open_root(str(tmp_path / "root"))
    )
    assert (report.frames, report.seconds, report.side_px) == (10, 0.4, 64)
    assert report.notes == ("no driver for expression: neutral",)
    assert messages[-1] == AnimateProgress("writing the grid", 10, 10)
    assert AnimateProgress("following the face of driver.mp4", 10, 10) in messages
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate, stream.frames) == (64, 64, 25, 10)
        assert stream.codec_context.name == "h264"
    made = read_sound(video)
    assert int(np.flatnonzero(np.abs(made) > 0.02)[0]) == pytest.approx(4 * 640, abs=80)
    with av.open(str(grid)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (4 * 224, 248, 10)
        picture = next(container.decode(stream)).to_ndarray(format="rgb24")
    portrait, eye = picture[24:, :224].astype(int), picture[24:, 3 * 224 :].astype(int)
    assert np.abs(portrait - eye).mean() < 6  # the same face
    assert sorted(path.name for path in video.parent.iterdir()) == ["grid.mp4", "out.mp4"]
    assert {path: path.read_bytes() for path in files.glob("*.*")} == before


def test_length_without_sound_is_that_of_the_longest_driver(files: Path, tmp_path: Path) -> None:
    write_face_video(tmp_path / "short.mp4", 6)
    drivers = {"pose": files / "driver.mp4", "expression": tmp_path / "short.mp4"}
    report = animate(request(files, tmp_path / "out.mp4", **drivers), root=open_root(str(tmp_path / "root")))
    assert report.frames == 14
    assert report.notes == (
        "short.mp4: ends after 6 of 14 frames, its last one is held",
        "no driver for lip, eye: neutral",
    )
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_seconds_set_the_length(files: Path, tmp_path: Path) -> None:
    changes = {"lip": files / "speech.wav", "seconds": 0.6}
    report = animate(request(files, tmp_path / "out.mp4", **changes), root=open_root(str(tmp_path / "root")))
    assert report.frames == 15
    assert len(read_sound(tmp_path / "out.mp4")) >= 15 * 640


def test_request_rejects_invalid_paths_and_values(files: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out\.avi: output files must end in \.mp4"):
        request(files, tmp_path / "out.avi")
    with pytest.raises(ValueError, match=r"driver\.mp4 is one of the inputs; choose another output"):
        request(files, files / "driver.mp4", pose=files / "driver.mp4")
    with pytest.raises(
        ValueError, match=rf"{tmp_path} is a folder; name a file in it, such as {tmp_path}/video"
    ):
        request(files, tmp_path)
    with pytest.raises(ValueError, match="output and grid are the same file"):
        request(files, tmp_path / "out.mp4", grid=tmp_path / "out.mp4")
    with pytest.raises(ValueError, match=r"pose must be <= 5, got 9"):
        Strengths(pose=9.0)


@pytest.mark.usefixtures("toy_presets")
def test_unusable_input_is_one_line_and_writes_nothing(files: Path, tmp_path: Path) -> None:
    publish_toy_run(tmp_path / "root", "toy")
    Image.fromarray(np.zeros((90, 90, 3), np.uint8)).save(tmp_path / "black.png")
    (face,) = face_pictures(1)
    Image.fromarray(np.concatenate([face, face[:, ::-1]], axis=1)).save(tmp_path / "two.png")
    soundfile.write(tmp_path / "silent.wav", np.zeros(8_000, np.float32), 16_000)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "text.wav").write_text("no sound")
    lip, driver = ("--lip", files / "speech.wav"), ("--pose", files / "driver.mp4")
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        (
            (*lip, "--checkpoint", "nobody"),
            "'nobody' is neither a folder of released files nor a run that has trained",
        ),
        ((*lip, "--pose", tmp_path / "none.mp4"), f"no file {tmp_path / 'none.mp4'}"),
        (
            (*lip, "--appearance", tmp_path / "black.png"),
            f"{tmp_path / 'black.png'}: no face was found in it",
        ),
        ((*lip, "--appearance", tmp_path / "two.png"), f"{tmp_path / 'two.png'}: shows two faces"),
        (("--lip", tmp_path / "silent.wav"), f"{tmp_path / 'silent.wav'}: the sound is silent"),
        (("--lip", tmp_path / "text.wav"), f"{tmp_path / 'text.wav'}: neither a sound file nor a video"),
        ((*lip, "--eye", tmp_path / "text.mp4"), f"{tmp_path / 'text.mp4'}: its content is in none of"),
        (("--eye", files / "face.png"), "the length of the video is not determined"),
        ((*driver, "--gaze-strength", "0"), "run 'toy': gaze and blink strengths must be equal"),
    ]
    for arguments, message in cases:
        result = run(files, tmp_path, *arguments)
        assert result.exit_code == 1, result.output
        assert result.output.startswith(f"Error: {message}"), result.output
        assert result.output.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.usefixtures("toy_presets")
def test_command_writes_and_reports_the_video(files: Path, tmp_path: Path) -> None:
    publish_toy_run(tmp_path / "root", "toy")
    result = run(files, tmp_path, "--lip", files / "speech.wav", "--pose", files / "driver.mp4")
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'out.mp4'}: 0.40 s, 10 frames of 32 px by run 'toy'" in result.output
    assert "no driver for eye, expression: neutral" in result.output
    assert (tmp_path / "out.mp4").is_file()
