"""`pdfgc score`, and what it says when something is missing."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from evaluation.suites.score_videos import SCORERS, score_videos
from models.external.syncnet import SyncNet
from pipelines.cli.main import main
from tests.factories.evaluation.lip_stage_files import RUN as TOY_RUN_NAME
from tests.factories.evaluation.lip_stage_files import lip_networks, publish_lip_stage
from tests.factories.models.weights import randomise
from tests.factories.preprocessing.media import Recipe, make_video


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = SyncNet()
    randomise(network, seed=47)
    path = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "short.mp4"
    make_video(path, Recipe(seconds=0.6))
    return path


def score(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["score", *map(str, arguments)])


def write_silent_film(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def test_score_json_has_scores_and_reasons(video: Path, weights: Path, tmp_path: Path) -> None:
    write_silent_film(tmp_path / "silent.mp4")
    result = score(video, tmp_path / "silent.mp4", "--weights", weights, "--protocol", "frame", "--json")
    assert result.exit_code == 0, result.output
    scored, silent = json.loads(result.stdout)
    assert (scored["scorer"], scored["protocol"], scored["frames"]) == ("syncnet_v2", "frame", 10)
    curve = scored["distances_by_shift"]
    assert len(curve) == 31
    assert scored["lse_d"] == min(curve)
    assert scored["lse_c"] == pytest.approx(sorted(curve)[15] - min(curve))
    assert scored["offset_frames"] == 15 - curve.index(min(curve))
    assert (silent["reason"], silent["detail"]) == ("no_sound", "no sound stream")
    assert "lse_c" not in silent


def test_score_table_names_scorer_and_protocol(video: Path, weights: Path) -> None:
    result = score(video, "--weights", weights, "--protocol", "frame")
    assert result.exit_code == 0, result.output
    shown = " ".join(result.output.split())
    assert "Lip sync by syncnet_v2, protocol frame" in shown
    assert "short.mp4: distance at shifts -15 to 15:" in shown


def test_score_of_a_video_without_a_face_has_the_reason(video: Path, weights: Path) -> None:
    result = score(video, "--weights", weights, "--protocol", "track")
    assert result.exit_code == 1
    assert result.output == f"Error: {video}: not scored: no_face: no face was found in any frame\n"


def test_score_reports_unscored_videos_on_one_line(weights: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "five.mp4", Recipe(seconds=0.2))
    write_silent_film(tmp_path / "silent.mp4")
    result = score(
        tmp_path / "five.mp4", tmp_path / "silent.mp4", "--weights", weights, "--protocol", "frame"
    )
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path / 'five.mp4'}: not scored: too_short: ")
    assert result.output.endswith(f"; {tmp_path / 'silent.mp4'}: not scored: no_sound: no sound stream\n")


def test_score_reports_bad_weights_on_one_line(video: Path, tmp_path: Path) -> None:
    missing = score(video, "--protocol", "frame")
    assert missing.output == (
        "Error: syncnet_v2 needs pretrained weights: --weights syncnet_v2 (see pdfgc weights list) or "
        "--weights FILE\n"
    )
    absent = score(video, "--protocol", "frame", "--weights", tmp_path / "absent.model")
    message = f"Error: syncnet_weights: no file {tmp_path / 'absent.model'}, and no weights of that name; "
    assert absent.output == f"{message}it takes syncnet_v2\n"
    (tmp_path / "text.model").write_text("no weights")
    wrong = score(video, "--protocol", "frame", "--weights", tmp_path / "text.model")
    assert wrong.output.startswith(f"Error: {tmp_path / 'text.model'} cannot be read as weights")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    other = score(video, "--protocol", "frame", "--weights", tmp_path / "other.pth")
    assert "does not fit SyncNet" in other.output
    assert {missing.exit_code, absent.exit_code, wrong.exit_code, other.exit_code} == {1}


def test_score_videos_rejects_unknown_names_first(video: Path, weights: Path) -> None:
    with pytest.raises(ValueError, match="'wav2lip' does not exist, choose from syncnet_v2, lip_encoders"):
        score_videos([video], "wav2lip", weights, "frame")
    with pytest.raises(ValueError, match="'both' does not exist, choose from frame, track, crop"):
        score_videos([video], "syncnet_v2", weights, "both")
    with pytest.raises(FileNotFoundError, match="no video at"):
        score_videos([video, video.with_name("none.mp4")], "syncnet_v2", weights, "frame")
    assert list(SCORERS) == ["syncnet_v2", "lip_encoders"]


def test_score_rejects_protocols_of_other_scorers(video: Path, weights: Path) -> None:
    crop = score(video, "--weights", weights, "--protocol", "crop")
    assert crop.output == "Error: syncnet_v2 scores by protocol frame or track, not by crop\n"
    frame = score(video, "--scorer", "lip_encoders", "--weights", "default", "--protocol", "frame")
    assert frame.output == "Error: lip_encoders scores by protocol crop, not by frame\n"
    assert {crop.exit_code, frame.exit_code} == {1}


def test_lip_encoders_need_a_run_with_a_lip_stage(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path))
    missing = score(video, "--scorer", "lip_encoders", "--protocol", "crop")
    assert missing.output == (
        "Error: lip_encoders needs a run that has trained stage2_lip: --weights RUN or --weights ROOT/RUN\n"
    )
    absent = score(video, "--scorer", "lip_encoders", "--weights", "default", "--protocol", "crop")
    assert absent.output == (
        f"Error: run 'default' has not trained stage2_lip under {tmp_path}; runs that have: none\n"
    )
    assert {missing.exit_code, absent.exit_code} == {1}


def test_score_with_lip_encoders_prints_json(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    root = publish_lip_stage(tmp_path_factory.mktemp("root"), lip_networks(21))
    make_video(tmp_path / "crops.mp4", Recipe(seconds=1.4))
    run = Path(str(root)) / TOY_RUN_NAME
    result = score(
        tmp_path / "crops.mp4", "--scorer", "lip_encoders", "--weights", run, "--protocol", "crop", "--json"
    )
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    kind, name, digest = found["scorer"].split(":")
    assert (kind, name, len(digest), found["protocol"]) == ("lip_encoders", TOY_RUN_NAME, 8, "crop")
    assert (found["frames"], len(found["distances_by_shift"])) == (35, 31)
    assert 0.0 < found["lse_d"] == min(found["distances_by_shift"]) <= 2.0


def test_score_requires_a_protocol(video: Path, weights: Path) -> None:
    result = score(video, "--weights", weights)
    assert result.exit_code == 2
    assert "Missing option '--protocol'" in result.output
