"""Which candidates become clips: every refusal with its score and bound, sound cut to the sample."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from numpy.typing import NDArray

from preprocessing.archive import ArchiveWriter
from preprocessing.clips.cutting import cut_sound, read_loudness
from preprocessing.clips.listed import SourceOfClips
from preprocessing.clips.selection import ClipSettings, make_clips
from preprocessing.clips.speakers import SpeakerSettings
from preprocessing.clips.store import accepted_clips, read_clip, read_clip_table, read_clips
from preprocessing.faces.candidate_tables import CANDIDATES_SCHEMA
from preprocessing.faces.shape.frame_of_reference import project_to_crop, rotation_from_angles
from preprocessing.faces.shape.landmark_groups import CHIN, INNER_LIP_LOWER_MIDDLE, LIPS_OUTER
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.labellers.failed_clips import read_failed
from preprocessing.labels.speech import SpeechSettings
from preprocessing.shards import encode_array
from storage.publishing import BuildReport
from tests.factories.preprocessing.clips import random_jpeg
from tests.factories.preprocessing.videos import voice

VIDEO = "0123456789abcdef"
FRAMES = 30
GOOD = {
    "video_id": VIDEO,
    "track": 0,
    "shot": 0,
    "first_frame": 10,
    "frames": FRAMES,
    "minimum_frames": 25,
    "main_face": True,
    "face_size_px": 100.0,
    "largest_step": 0.02,
    "outside_share": 0.0,
    "refused": "",
    "repeated_share": 0.1,
    "standing_frames": 1.0,
    "unread_frames": 0.0,
    "sharpness": 50.0,
    "brightness": 120.0,
}


def talking_face(yaw_rad: float = 0.0, opening_px: float = 12.0) -> NDArray[np.float32]:
    """The mean face in the crop [30, 478, 3], whose lower lip goes down by `opening_px` and up again."""
    turned = load_mean_face().vertices_cm @ rotation_from_angles(np.array([0.0, yaw_rad, 0.0])).T
    landmarks = np.concatenate([project_to_crop(turned), -10.15 * turned[:, 2:]], axis=1)
    frames = np.repeat(landmarks[None].astype(np.float32), FRAMES, axis=0)
    frames[::2, list(INNER_LIP_LOWER_MIDDLE), 1] += opening_px
    return frames


def run(
    folder: Path,
    candidates: list[dict[str, Any]],
    settings: ClipSettings | None = None,
    landmarks: NDArray[np.float32] | None = None,
    loudness: float = 0.06,
    sound: NDArray[np.float32] | None = None,
    of_tracks: Mapping[int, NDArray[np.float32]] | None = None,
) -> tuple[BuildReport, list[dict[str, Any]]]:
    """`make_clips` over one video's candidates; the report and the rows."""
    video = folder / "face_tracks" / VIDEO
    video.mkdir(parents=True)
    rng = np.random.default_rng(0)
    spoken = voice(100) if sound is None else sound
    scaled: NDArray[np.float32] = (spoken * loudness / np.sqrt(np.mean(spoken**2))).astype(np.float32)
    soundfile.write(video / "sound.flac", scaled, 16_000, subtype="PCM_16")
    rows: list[dict[str, Any]] = []
    with ArchiveWriter(video / "candidates.tar") as archive:
        for candidate in candidates:
            key = f"{VIDEO}-t{candidate['track']:02d}-f{candidate['first_frame']:07d}"
            members = {f"{number:03d}.jpg": random_jpeg(rng) for number in range(FRAMES)}
            of_track = (of_tracks or {}).get(candidate["track"], landmarks)
            members["landmarks.npy"] = encode_array(talking_face() if of_track is None else of_track)
            members["transforms.npy"] = encode_array(np.zeros((FRAMES, 2, 3), np.float32))
            place = archive.write(key, members)
            offset = place.offset_bytes if candidate["frames"] == FRAMES else -1
            rows.append({"key": key, "offset_bytes": offset, "size_bytes": place.size_bytes, **candidate})
    pq.write_table(pa.Table.from_pylist(rows, schema=CANDIDATES_SCHEMA), video / "candidates.parquet")
    facts = {"video_id": VIDEO, "recorded_sound": [[0, 60 * 640], [61 * 640, 100 * 640]]}
    (video / "video.json").write_text(json.dumps(facts))
    target = folder / "clips"
    target.mkdir()
    sources = {VIDEO: SourceOfClips("Zoë", "Zoë/a b.mp4")}
    report = make_clips(sources, folder / "face_tracks", "official", settings or ClipSettings(), target)
    return report, read_clip_table(target).to_pylist()


def test_accepted_candidate_becomes_a_clip_with_sound(tmp_path: Path) -> None:
    report, (row,) = run(tmp_path, [GOOD])
    assert (row["accepted"], row["reason"], row["score"], row["threshold"]) == (True, "", None, None)
    assert dict(report.refusals) == {}
    assert {name: report.counts[name] for name in ("videos", "videos_with_clips", "clips", "frames")} == {
        "videos": 1, "videos_with_clips": 1, "clips": 1, "frames": FRAMES,
    }  # fmt: skip
    (clip,) = read_clips(tmp_path / "clips")
    whole, _ = soundfile.read(tmp_path / "face_tracks" / VIDEO / "sound.flac", dtype="float32")
    np.testing.assert_array_equal(clip.sound, whole[10 * 640 : 40 * 640])
    np.testing.assert_array_equal(clip.video_sound.before, whole[6 * 640 : 10 * 640])
    np.testing.assert_array_equal(
        clip.video_sound.after, np.pad(whole[40 * 640 : 42 * 640], (0, max(0, 42 * 640 - len(whole))))
    )
    assert clip.video_sound.loudness == pytest.approx(np.sqrt(np.mean(whole**2)), rel=1e-5)
    np.testing.assert_array_equal(clip.landmarks_px, talking_face())
    assert (clip.identity, clip.source.relative_path, clip.source.crop_mode) == (
        "Zoë",
        "Zoë/a b.mp4",
        "official",
    )
    assert clip.source.first_frame == 10
    assert clip.scores["head_angle_rad"] == pytest.approx(0.0, abs=0.02)
    seconds = np.lib.stride_tricks.sliding_window_view(clip.sound, 16_000)[::160]
    loudest = 20 * np.log10(np.sqrt(np.mean(seconds**2, axis=1)).max())
    assert clip.scores["speech_level_dbfs"] == pytest.approx(loudest, abs=0.1)
    assert clip.speech is not None
    assert clip.scores["speech_share"] == row["speech_share"] == np.mean(clip.speech >= 0.5) > 0.8
    assert row["speech_seconds"] == pytest.approx(row["speech_share"] * FRAMES / 25)
    assert clip.scores["mouth_motion"] == row["mouth_motion"]


REFUSALS: list[tuple[str, dict[str, Any], str, float]] = [
    ("face_too_small", {"face_size_px": 63.0}, "face_size_px", 64.0),
    ("blurred", {"sharpness": 7.0}, "sharpness", 8.0),
    ("too_dark", {"brightness": 24.0}, "brightness", 25.0),
    ("too_bright", {"brightness": 236.0}, "brightness", 235.0),
    ("tracker_slipped", {"largest_step": 0.26}, "largest_step", 0.25),
    ("beyond_the_picture", {"outside_share": 0.21}, "outside_share", 0.2),
    ("pictures_repeat", {"repeated_share": 0.51}, "repeated_share", 0.5),
    ("picture_stands", {"standing_frames": 13.0}, "standing_frames", 12.0),
]


@pytest.mark.parametrize(("reason", "change", "name", "threshold"), REFUSALS)
def test_refused_candidate_is_a_row_with_score_and_threshold(
    tmp_path: Path, reason: str, change: dict[str, Any], name: str, threshold: float
) -> None:
    report, (row,) = run(tmp_path, [GOOD | change])
    assert (row["accepted"], row["reason"], row["score"], row["threshold"]) == (
        False,
        reason,
        change[name],
        threshold,
    )
    assert row["offset_bytes"] == -1
    assert dict(report.refusals) == {reason: 1}
    assert accepted_clips(tmp_path / "clips") == []


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("turned_away", {"landmarks": talking_face(yaw_rad=1.2)}),
        ("mouth_still", {"landmarks": talking_face(opening_px=0.0)}),
        ("silent", {"loudness": 0.0005}),
    ],
)
def test_scores_of_the_clip_can_refuse_it(tmp_path: Path, reason: str, change: Mapping[str, Any]) -> None:
    _, (row,) = run(tmp_path, [GOOD], **change)
    assert row["reason"] == reason
    names = {"turned_away": "head_angle_rad", "mouth_still": "mouth_motion", "silent": "speech_level_dbfs"}
    assert row["score"] == row[names[reason]]
    bounds = {"turned_away": np.pi / 3, "mouth_still": 0.01, "silent": -55.0}
    assert row["threshold"] == pytest.approx(bounds[reason])


TIMES = np.arange(100 * 640) / 16_000
NOISE = np.random.default_rng(1).normal(size=len(TIMES)).astype(np.float32)
CHORDS = sum(  # four chords of three notes with five partials, as a keyboard plays them
    np.sin(2 * np.pi * partial * root * 2 ** (step / 12) * TIMES) / partial * (np.exp(-3 * (TIMES % 1)))
    for step in (0, 4, 7)
    for partial in range(1, 6)
    for root in [np.choose(TIMES.astype(int) % 4, [220.0, 174.6, 261.6, 196.0])]
)
SPEECH_IN_SILENCE = np.concatenate([1e-4 * NOISE[: 35 * 640], voice(65)])  # the clip ends at frame 40


@pytest.mark.parametrize(
    ("reason", "sound"),
    [
        ("noise", NOISE),
        ("noise", np.cumsum(NOISE - NOISE.mean(), dtype=np.float64)[: len(TIMES)]),  # brown
        ("music", CHORDS),
        ("no_speech", SPEECH_IN_SILENCE),
    ],
)
def test_clip_without_speech_is_refused_by_what_it_holds(
    tmp_path: Path, reason: str, sound: NDArray[np.float32]
) -> None:
    _, (row,) = run(tmp_path, [GOOD], sound=np.asarray(sound, np.float32))
    assert (row["reason"], row["score"], row["threshold"]) == (reason, row["speech_share"], 0.1)
    assert row["speech_level_dbfs"] > -55.0


def test_no_detector_leaves_the_level_to_decide(tmp_path: Path) -> None:
    settings = ClipSettings(speech=SpeechSettings(backend="none"))
    _, (row,) = run(tmp_path, [GOOD], settings, sound=NOISE)
    assert (row["accepted"], row["speech_share"]) == (True, None)
    (clip,) = read_clips(tmp_path / "clips")
    assert clip.speech is None
    assert "speech_share" not in clip.scores


def test_first_failed_threshold_is_the_reason(tmp_path: Path) -> None:
    all_wrong = GOOD | {name: value for _, change, _, _ in REFUSALS for name, value in change.items()}
    _, (row,) = run(tmp_path, [all_wrong], landmarks=talking_face(opening_px=0.0), loudness=0.0005)
    assert row["reason"] == "face_too_small"
    settings = ClipSettings(minimum_face_size_px=0.0, minimum_sharpness=0.0)
    _, (row,) = run(tmp_path / "again", [all_wrong], settings, talking_face(opening_px=0.0))
    assert row["reason"] == "mouth_still"


def test_clip_without_its_sound_is_refused(tmp_path: Path) -> None:
    # One frame of 30 is not recorded in the first, four in the second, which goes beyond the sound's end.
    _, rows = run(tmp_path, [GOOD | {"first_frame": first} for first in (31, 74)])
    assert [row["reason"] for row in rows] == ["", "sound_missing"]
    assert [row["recorded_share"] for row in rows] == pytest.approx([29 / 30, 26 / 30])
    assert rows[1]["threshold"] == 0.95


@pytest.mark.parametrize("frames", [10, FRAMES])
def test_refused_pictures_are_a_row_with_their_reason(tmp_path: Path, frames: int) -> None:
    damaged = GOOD | {"frames": frames, "refused": "damaged_pictures", "offset_bytes": -1}
    _, (row,) = run(tmp_path, [damaged])
    assert (row["accepted"], row["reason"], row["score"]) == (False, "damaged_pictures", float(frames))


def test_short_candidate_is_a_row_with_its_length(tmp_path: Path) -> None:
    _, rows = run(tmp_path, [GOOD, GOOD | {"first_frame": 40, "frames": 24}])
    assert [row["accepted"] for row in rows] == [True, False]
    assert (rows[1]["reason"], rows[1]["score"], rows[1]["threshold"]) == ("too_short", 24.0, 25.0)


def talking_with(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean face [30, 478, 3], whose jaw goes down as the sound of frames 10 to 40 grows loud."""
    loudness = np.sqrt(np.mean(sound[10 * 640 : 40 * 640].reshape(FRAMES, 640) ** 2, axis=1))
    frames = talking_face(opening_px=0.0)
    lower = [*INNER_LIP_LOWER_MIDDLE, 88, 95, 318, 324, *LIPS_OUTER[11:], 18, 199, 200, CHIN]
    frames[:, lower, 1] += 12.0 * (loudness / loudness.max()).astype(np.float32)[:, None]
    return frames


def test_face_that_speaks_is_kept_whatever_its_size(tmp_path: Path) -> None:
    sound = voice(100)
    faces = {0: talking_with(np.roll(sound, 4 * 640)), 3: talking_with(sound)}
    smaller = GOOD | {"track": 3, "main_face": False}
    _, rows = run(tmp_path, [GOOD, smaller], of_tracks=faces)
    assert [(row["identity"], row["reason"]) for row in rows] == [
        ("Zoë face 0", "not_the_speaker"),
        ("Zoë", ""),
    ]
    assert rows[0]["score"] == rows[0]["speaking_margin"] == -rows[1]["speaking_margin"] < -0.07
    assert rows[0]["threshold"] == 0.07
    assert rows[1]["speaking_score"] > 0.12
    (clip,) = read_clips(tmp_path / "clips")
    assert (clip.identity, clip.scores["face_size_px"]) == ("Zoë", 100.0)


def test_faces_with_one_mouth_motion_are_refused_as_unsure(tmp_path: Path) -> None:
    _, rows = run(tmp_path, [GOOD, GOOD | {"track": 3, "main_face": False}])
    assert [(row["reason"], row["score"]) for row in rows] == [("speaker_unsure", 0.0)] * 2


def test_lone_face_beside_one_that_is_not_tracked_needs_lips_that_go_with_the_sound(tmp_path: Path) -> None:
    beside = GOOD | {"unread_frames": float(FRAMES)}
    faces = {0: talking_with(voice(100))}
    _, (silent,) = run(tmp_path / "silent", [beside])
    assert (silent["reason"], silent["score"]) == ("speaker_unsure", silent["speaking_score"])
    assert silent["score"] < silent["threshold"] == pytest.approx(2.1 / FRAMES**0.5)
    lower = ClipSettings(speakers=SpeakerSettings(lone_score=0.6))
    _, (speaker,) = run(tmp_path / "speaker", [beside], lower, of_tracks=faces)
    assert (speaker["accepted"], speaker["speaking_score"] > 0.12) == (True, True)
    _, (alone,) = run(tmp_path / "alone", [GOOD])
    assert (alone["accepted"], alone["speaking_score"]) == (True, None)


def test_without_speech_the_sound_is_the_reason(tmp_path: Path) -> None:
    _, rows = run(tmp_path, [GOOD, GOOD | {"track": 3, "main_face": False}], sound=NOISE)
    assert [row["reason"] for row in rows] == ["noise", "not_the_main_face"]


def test_secondary_faces_are_refused_or_own_identities(tmp_path: Path) -> None:
    other = GOOD | {"track": 3, "main_face": False}
    by_size = SpeakerSettings(choose_by="size")
    _, rows = run(tmp_path, [GOOD, other], ClipSettings(speakers=by_size))
    assert [(row["identity"], row["reason"]) for row in rows] == [
        ("Zoë", ""),
        ("Zoë face 3", "not_the_main_face"),
    ]
    assert rows[1]["score"] == 100.0
    _, kept = run(tmp_path / "kept", [GOOD, other], ClipSettings(keep_other_faces=True, speakers=by_size))
    assert [row["accepted"] for row in kept] == [True, True]
    clips = tmp_path / "kept" / "clips"
    assert [read_clip(clips, row).identity for row in accepted_clips(clips)] == ["Zoë", "Zoë face 3"]


def test_short_sound_is_padded_with_silence(tmp_path: Path) -> None:
    steps = np.arange(1, 1001, dtype=np.int16)
    soundfile.write(tmp_path / "sound.flac", steps, 16_000, subtype="PCM_16")
    path = tmp_path / "sound.flac"
    cut, around = cut_sound(path, first_frame=1, frames=1, loudness=0.5)
    np.testing.assert_array_equal(cut[:360], (steps[640:] / 2**15).astype(np.float32))
    np.testing.assert_array_equal(cut[360:], np.zeros(280))
    np.testing.assert_array_equal(around.before[: 3 * 640], np.zeros(1920))
    np.testing.assert_array_equal(around.before[3 * 640 :], (steps[:640] / 2**15).astype(np.float32))
    np.testing.assert_array_equal(around.after, np.zeros(1280))
    np.testing.assert_array_equal(cut_sound(path, 9, 2, 0.5)[0], np.zeros(1280))
    assert read_loudness(path) == pytest.approx(np.sqrt(np.mean((steps / 2**15) ** 2)))


def test_candidate_that_raises_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    broken = GOOD | {"track": 5, "first_frame": 60}
    not_finite = np.full((FRAMES, 478, 3), np.nan, np.float32)
    report, rows = run(tmp_path, [GOOD, broken], of_tracks={5: not_finite})
    assert [(row["accepted"], row["reason"]) for row in rows] == [(True, ""), (False, "failed")]
    assert dict(report.refusals) == {"failed": 1}
    ((key, detail),) = read_failed(tmp_path / "clips").items()
    assert key == rows[1]["key"]
    assert "nan" in detail.lower() or "finite" in detail.lower()


def test_video_whose_speakers_cannot_be_judged_fails_alone(tmp_path: Path) -> None:
    """Faces beside each other, one of which has landmarks of another mesh."""
    wrong = talking_face()[:, :468]
    _, rows = run(tmp_path, [GOOD, GOOD | {"track": 5}], of_tracks={5: wrong})
    assert [row["reason"] for row in rows] == ["failed", "failed"]
    assert set(read_failed(tmp_path / "clips").values()) == {
        "ValueError: landmarks are [30, 468, 3], need [T, 478, 3]"
    }
