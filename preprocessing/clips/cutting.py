"""A candidate becomes a clip: pictures, landmarks, sound and scores, from the files of `face_tracks`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from preprocessing.archive import Place, read_some_members
from preprocessing.audio.sound_landmarks import find_landmarks
from preprocessing.clips.listed import SourceOfClips
from preprocessing.faces.alignment import CropMode
from preprocessing.labellers import pose_mean_face
from preprocessing.labellers.lip_sync import mouth_opening
from preprocessing.labels.speech import SpeechSettings, loudest_second_dbfs, speech_scores
from preprocessing.schema import FRAMES_AFTER, FRAMES_BEFORE, SAMPLES_PER_FRAME, Clip, ClipSource, VideoSound
from preprocessing.shards import decode_array

SOUND_NAME: Final = "sound.flac"  # of a video in `face_tracks`
HEAD_ANGLE_EVERY_FRAMES: Final = 4  # heads turn slowly relative to 25 fps


def cut_clip(
    candidate: Mapping[str, Any],
    source: SourceOfClips,
    identity: str,
    crop_mode: CropMode,
    face_tracks: Path,
    loudness: float,
    speech: NDArray[np.float32] | None,
    settings: SpeechSettings,
) -> Clip:
    """The clip of a candidate that has pictures.

    Args:
        candidate: its row.
        source: of its video.
        identity: who is seen.
        crop_mode: recorded with the clip.
        face_tracks: folder of the step.
        loudness: of the whole video's sound.
        speech: [F] probabilities of the whole video; None: not detected.
        settings: what counts as speech.
    """
    video = face_tracks / candidate["video_id"]
    place = Place(candidate["offset_bytes"], candidate["size_bytes"])
    pictures = [f"{number:03d}.jpg" for number in range(candidate["frames"])]
    names = (*pictures, "landmarks.npy", "transforms.npy")
    members = read_some_members(video / "candidates.tar", place, names)
    landmarks_px = decode_array(candidate["key"], members, "landmarks.npy")
    sound, video_sound = cut_sound(
        video / SOUND_NAME, candidate["first_frame"], candidate["frames"], loudness
    )
    score_names = ("face_size_px", "largest_step", "outside_share", "sharpness", "brightness")
    scores = {name: float(candidate[name]) for name in score_names}
    if speech is not None:
        speech = _cut_frames(speech, candidate["first_frame"], candidate["frames"])
    return Clip(
        key=candidate["key"],
        identity=identity,
        source=ClipSource(
            video_id=candidate["video_id"],
            relative_path=source.relative_path,
            track=candidate["track"],
            first_frame=candidate["first_frame"],
            crop_mode=crop_mode,
            crop_transforms=decode_array(candidate["key"], members, "transforms.npy"),
        ),
        frames_jpeg=tuple(members[name] for name in pictures),
        landmarks_px=landmarks_px,
        sound=sound,
        video_sound=video_sound,
        scores=scores | _talking_scores(landmarks_px, sound) | speech_scores(sound, speech, settings),
        speech=speech,
    )


def _cut_frames(values: NDArray[np.float32], first_frame: int, frames: int) -> NDArray[np.float32]:
    """Values [frames] of a clip out of those of its video [F]; 0 where the video's sound has ended."""
    cut = values[first_frame : first_frame + frames]
    return np.pad(cut, (0, frames - len(cut)))


def cut_sound(
    path: Path, first_frame: int, frames: int, loudness: float
) -> tuple[NDArray[np.float32], VideoSound]:
    """Read the sound of some frames, samples 640 first_frame to 640 (first_frame + frames), and around them.

    Silence before a video's start and after its end. `loudness` is the whole video's, of `read_loudness`.
    """
    start = (first_frame - FRAMES_BEFORE) * SAMPLES_PER_FRAME
    count = (FRAMES_BEFORE + frames + FRAMES_AFTER) * SAMPLES_PER_FRAME
    missing = max(0, -start)
    with soundfile.SoundFile(path) as file:
        file.seek(min(start + missing, file.frames))
        read = np.asarray(file.read(count - missing, dtype="float32"), np.float32)
    samples = np.pad(read, (missing, count - missing - len(read)))
    ends = [FRAMES_BEFORE * SAMPLES_PER_FRAME, (FRAMES_BEFORE + frames) * SAMPLES_PER_FRAME]
    before, sound, after = np.split(samples, ends)
    return sound, VideoSound(before, after, loudness)


def recorded_share(recorded: Sequence[Sequence[int]], first_frame: int, frames: int) -> float:
    """Share of some frames' sound that was recorded.

    Args:
        recorded: [start, end) in samples, as in `video.json`.
        first_frame: on the 25 fps grid.
        frames: number of frames.
    """
    start, end = first_frame * SAMPLES_PER_FRAME, (first_frame + frames) * SAMPLES_PER_FRAME
    inside = sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in recorded)
    return inside / (end - start)


def read_loudness(path: Path) -> float:
    """Root mean square of a whole sound; 0 if it is empty."""
    with soundfile.SoundFile(path) as file:
        blocks = file.blocks(blocksize=2**20, dtype="float64")
        return math.sqrt(sum(float((block**2).sum()) for block in blocks) / max(1, file.frames))


def sound_landmarks_of(path: Path) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Landmarks of a sound file, as `find_landmarks`."""
    sound, _ = soundfile.read(path, dtype="float32")
    return find_landmarks(np.asarray(sound, np.float32))


def _talking_scores(landmarks_px: NDArray[np.float32], sound: NDArray[np.float32]) -> dict[str, float]:
    pose = pose_mean_face.label_pose(
        landmarks_px[::HEAD_ANGLE_EVERY_FRAMES], pose_mean_face.PoseSettings()
    ).pose
    # The angle between the face's axis and the camera's, independent of roll.
    off_axis = np.arccos(np.cos(pose[:, 0]) * np.cos(pose[:, 1]))
    return {
        "head_angle_rad": float(off_axis.max()),
        "mouth_motion": float(mouth_opening.measure_mouth_opening(landmarks_px).std()),
        "speech_level_dbfs": loudest_second_dbfs(sound),
    }
