"""Is the speaker's face chosen? Composites of two people side by side, with the sound of one of them.

VIDEOS holds one folder a person. Two people are drawn at random, then a clip of each, sides, sizes (one face
up to twice as large as the other) and who is heard; both speak, each their own words. A composite is 2 to 3 s
long, and is judged after tracking with a projection that was fitted to neither person.

    python -m benchmarks.preprocessing.speaking_face VIDEOS [--composites N] [--unknown PATTERN]...
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import show, write_json
from benchmarks.preprocessing.mouth_sound import Fits, landmarks_of, read_talks, speaks
from preprocessing.archive import Place, read_some_members
from preprocessing.clips.company import candidates_in_company
from preprocessing.clips.cutting import SOUND_NAME, cut_sound
from preprocessing.clips.speakers import (
    FaceMotion,
    SpeakerSettings,
    Speaking,
    face_motion,
    judge_speakers,
)
from preprocessing.faces.candidate_tables import read_candidates
from preprocessing.faces.face_tracks import make_face_tracks
from preprocessing.faces.video import FaceTrackSettings, VideoToTrack
from preprocessing.media.decoding import DecodeSettings, decode_sound, open_video
from preprocessing.media.encoding import write_video
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLES_PER_FRAME
from preprocessing.shards import decode_array
from storage.fingerprint import file_sha256

HEIGHT_PX: Final = 480
LENGTHS: Final = (50, 64, 74)  # frames


@dataclass(frozen=True)
class Composite:
    """Two people side by side."""

    path: Path
    people: tuple[str, str]  # left, right
    speaker: int  # 0: left, 1: right
    seam_px: int
    frames: int


def make_composites(videos: Sequence[tuple[str, Path, int]], count: int, folder: Path) -> list[Composite]:
    """Composites of (person, video, first frame of 74 in which they speak)."""
    rng = np.random.default_rng(0)
    by_person: dict[str, list[tuple[str, Path, int]]] = {}
    for video in videos:
        by_person.setdefault(video[0], []).append(video)
    people = sorted(by_person)
    made: list[Composite] = []
    for number in range(count):
        pair = [people[place] for place in rng.choice(len(people), 2, replace=False)]
        clips = [by_person[person][rng.integers(len(by_person[person]))] for person in pair]
        frames = int(LENGTHS[number % len(LENGTHS)])
        halves = [read_pictures(path, first, frames) for _, path, first in clips]
        shrunk = number % 4 // 2
        scale = float(rng.uniform(0.5, 1.0))
        halves[shrunk] = [shrink(picture, scale) for picture in halves[shrunk]]
        speaker = number % 2
        _, path, first = clips[speaker]
        sound = decode_sound(path, DecodeSettings())[first * SAMPLES_PER_FRAME :][
            : frames * SAMPLES_PER_FRAME
        ]
        pictures = [np.hstack(both) for both in zip(*(half[:frames] for half in halves), strict=True)]
        target = folder / f"{number:03d}.mp4"
        write_video(target, pictures, FRAMES_PER_SECOND, sound)
        made.append(Composite(target, (pair[0], pair[1]), speaker, halves[0][0].shape[1], frames))
    return made


def read_pictures(path: Path, first: int, count: int) -> list[NDArray[np.uint8]]:
    """[<= count] pictures of one height."""
    pictures: list[NDArray[np.uint8]] = []
    with open_video(path, DecodeSettings()) as decoded:
        for frame in decoded:
            if frame.index >= first + count:
                break
            if frame.index >= first:
                height, width = frame.image.shape[:2]
                size = (round(width * HEIGHT_PX / height / 2) * 2, HEIGHT_PX)
                resized = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
                pictures.append(np.asarray(resized, np.uint8))
    return pictures


def shrink(picture: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The picture smaller in a grey frame of the same height."""
    height = round(len(picture) * scale)
    width = round(picture.shape[1] * scale / 2) * 2
    framed = np.full((len(picture), width, 3), 128, np.uint8)
    top = (len(picture) - height) // 2
    framed[top : top + height] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return framed


def judge(
    composite: Composite, folder: Path, fits: Fits, settings: SpeakerSettings
) -> list[tuple[bool, Speaking]]:
    """For each candidate of a composite: whether it is the speaker's face, and what is said of it."""
    tracked = read_candidates(folder.parent).to_pylist()
    rows: list[dict[str, Any]] = [row for row in tracked if row["video_id"] == folder.name]
    projection = fits.without(*composite.people)
    motions: list[FaceMotion] = []
    is_speaker: dict[str, bool] = {}
    for row in candidates_in_company(rows):
        landmarks_px = landmarks_of(folder, dict(row))
        place = Place(row["offset_bytes"], row["size_bytes"])
        members = read_some_members(folder / "candidates.tar", place, ("transforms.npy",))
        transform = decode_array(row["key"], members, "transforms.npy")[0].astype(np.float64)
        middle = landmarks_px[0, :, :2].mean(axis=0)
        x = np.linalg.solve(transform[:, :2], middle - transform[:, 2])[0]
        is_speaker[row["key"]] = (x >= composite.seam_px) == (composite.speaker == 1)
        sound, _ = cut_sound(folder / SOUND_NAME, row["first_frame"], row["frames"], 0.0)
        motions.append(face_motion(row, landmarks_px, sound, projection))
    found = judge_speakers(motions, projection, settings)
    return [(is_speaker[key], speaking) for key, speaking in found.items()]


@click.command()
@click.argument("videos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--composites", default=80, show_default=True, help="How many.")
@click.option("--leave-out", multiple=True, help="Names of videos, with wildcards, that no fit uses.")
@click.option("--unknown", multiple=True, help="Names of videos that are not in sync: used for nothing.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(
    videos: Path,
    composites: int,
    leave_out: tuple[str, ...],
    unknown: tuple[str, ...],
    json_path: Path | None,
) -> None:
    """Measure on VIDEOS."""
    settings = SpeakerSettings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "talks").mkdir()
        talks = [
            talk
            for talk in read_talks(videos, folder / "talks")
            if not any(fnmatch(talk.path.name, pattern) for pattern in unknown)
        ]
        fits = Fits(talks, leave_out)
        clips = [
            (talk.person, talk.path, talk.first_frame + first)
            for talk in talks
            for first in range(0, talk.frames - LENGTHS[-1] + 1, LENGTHS[-1])
            if speaks(talk, first, LENGTHS[-1])
        ]
        made = make_composites(clips, composites, folder)
        (folder / "tracks").mkdir()
        ids = [file_sha256(each.path)[:16] for each in made]
        tasks = [VideoToTrack(video_id, each.path) for video_id, each in zip(ids, made, strict=True)]
        make_face_tracks(tasks, FaceTrackSettings(), folder / "tracks", workers=0)
        outcomes = [
            judge(composite, folder / "tracks" / video_id, fits, settings)
            for video_id, composite in zip(ids, made, strict=True)
        ]
    report(made, outcomes, json_path)


def report(
    made: Sequence[Composite], outcomes: Sequence[Sequence[tuple[bool, Speaking]]], json_path: Path | None
) -> None:
    """Print the shares of composites and of clips."""
    rows: list[list[Any]] = []
    results: dict[str, Any] = {}
    tracked = [each for each, outcome in zip(made, outcomes, strict=True) if outcome]
    click.echo(f"{len(made) - len(tracked)} of {len(made)} composites without two faces that are tracked")
    by_length = {
        f"{frames} frames": [each for each in tracked if each.frames == frames] for frames in LENGTHS
    }
    for name, kept in {"all": tracked, **by_length}.items():
        judged = [outcome for composite, outcome in zip(made, outcomes, strict=True) if composite in kept]
        spoken = [{is_right for is_right, each in outcome if each.verdict == "speaks"} for outcome in judged]
        right = sum(found == {True} for found in spoken)
        wrong = sum(False in found for found in spoken)
        better = [each.margin > 0 for outcome in judged for is_right, each in outcome if is_right]
        rows.append([name, len(kept), right, wrong, len(kept) - right - wrong, float(np.mean(better))])
        results[name] = {"composites": len(kept), "right": right, "wrong": wrong, "better": rows[-1][-1]}
    show(
        "Composites of two speakers: whose clips are accepted",
        ["", "composites", "right", "wrong", "none", "clips with the higher score"],
        rows,
    )
    for composite, outcome in zip(made, outcomes, strict=True):
        found = " ".join(f"{is_right:d}:{each.verdict}:{each.margin:.2f}" for is_right, each in outcome)
        click.echo(f"{composite.path.name} {composite.people} heard {composite.speaker}: {found}")
    write_json(json_path, results)


if __name__ == "__main__":
    main()
