"""Fit `mouth_sound_projection.csv` of `preprocessing/labellers/lip_sync/`, and measure it on other people.

VIDEOS holds one folder a person. Each video is tracked. Each person's figures come from a projection that was
fitted to the others:

- offsets: the sound of every window of 64 frames is shifted by known amounts; how often the estimate is
  within one frame of the shift plus the video's own offset, that of all its frames;
- two people: windows of 50 and 64 frames of two people who both speak, and the sound of one: whose mouth goes
  better with it. The projection was fitted to neither.

    python -m benchmarks.preprocessing.mouth_sound VIDEOS [--leave-out PATTERN]... [--write FILE]
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.measuring import cpu_seconds, show, write_json
from preprocessing.archive import Place, read_some_members
from preprocessing.clips.speakers import SpeakerSettings, speaking_score
from preprocessing.faces.candidate_tables import read_candidates
from preprocessing.faces.face_tracks import make_face_tracks
from preprocessing.faces.video import FaceTrackSettings, VideoToTrack
from preprocessing.labellers.lip_sync.mouth_opening import measure_mouth_opening
from preprocessing.labellers.lip_sync.mouth_sound import (
    Example,
    Projection,
    correlation_by_shift,
    fit_projection,
    mouth_features,
    sound_features,
)
from preprocessing.labellers.speech_silero import SileroDetector
from preprocessing.schema import SAMPLES_PER_FRAME
from preprocessing.shards import decode_array
from storage.fingerprint import file_sha256

SHIFTS: Final = (-8, -5, 0, 4, 7)  # frames
MAXIMUM_SHIFT: Final = 15
OFFSET_FRAMES: Final = 64
STRIDE_FRAMES: Final = 32
PAIRS: Final = 1000


@dataclass(frozen=True)
class Talk:
    """One face over consecutive frames, with its sound."""

    person: str
    path: Path
    first_frame: int
    landmarks_px: NDArray[np.float32] = field(repr=False)  # [T, 478, 3] crop px
    sound: NDArray[np.float32] = field(repr=False)  # [(T + 2 * 15) * 640], 15 frames more on either side
    speech: NDArray[np.float32] = field(repr=False)  # [T] probability

    @property
    def frames(self) -> int:
        """T."""
        return len(self.landmarks_px)

    def sound_of(self, first: int, end: int) -> NDArray[np.float32]:
        """The sound of frames `first` to `end`, which may lie up to 15 frames outside."""
        offset = first + MAXIMUM_SHIFT
        return self.sound[offset * SAMPLES_PER_FRAME : (offset + end - first) * SAMPLES_PER_FRAME]

    def example(self) -> Example:
        """Its features."""
        return Example(
            self.person, mouth_features(self.landmarks_px), sound_features(self.sound_of(0, self.frames))
        )


def read_talks(videos: Path, folder: Path) -> Iterator[Talk]:
    """Track every video below `videos` into `folder`; yields each face."""
    paths = {file_sha256(path)[:16]: path for path in sorted(videos.rglob("*")) if path.is_file()}
    tasks = [VideoToTrack(video_id, path) for video_id, path in paths.items()]
    make_face_tracks(tasks, FaceTrackSettings(), folder, workers=0)
    detector = SileroDetector()
    rows = [row for row in read_candidates(folder).to_pylist() if row["offset_bytes"] >= 0]
    rows.sort(key=lambda row: (row["video_id"], row["track"], row["first_frame"]))
    while rows:
        run = [rows.pop(0)]
        while rows and _follows(run[-1], rows[0]):
            run.append(rows.pop(0))
        path, video = paths[run[0]["video_id"]], folder / run[0]["video_id"]
        landmarks_px = np.concatenate([landmarks_of(video, row) for row in run])
        first, count = run[0]["first_frame"], len(landmarks_px)
        sound = np.asarray(soundfile.read(video / "sound.flac", dtype="float32")[0], np.float32)
        around = MAXIMUM_SHIFT * SAMPLES_PER_FRAME
        padded = np.pad(sound, (around, around + count * SAMPLES_PER_FRAME))
        start = first * SAMPLES_PER_FRAME
        speech = np.pad(detector.detect(video / "sound.flac"), (0, count))[first : first + count]
        yield Talk(
            path.parent.name,
            path,
            first,
            landmarks_px,
            padded[start : start + 2 * around + count * SAMPLES_PER_FRAME],
            speech,
        )


def _follows(row: dict[str, Any], following: dict[str, Any]) -> bool:
    is_same = (row["video_id"], row["track"]) == (following["video_id"], following["track"])
    return is_same and following["first_frame"] == row["first_frame"] + row["frames"]


def landmarks_of(video: Path, row: dict[str, Any]) -> NDArray[np.float32]:
    """Landmarks [T, 478, 3] of a candidate, crop px."""
    place = Place(row["offset_bytes"], row["size_bytes"])
    members = read_some_members(video / "candidates.tar", place, ("landmarks.npy",))
    return decode_array(row["key"], members, "landmarks.npy")


class Fits:
    """Projections fitted without some people."""

    def __init__(self, talks: Sequence[Talk], left_out: Sequence[str]) -> None:
        used = [talk for talk in talks if not any(fnmatch(talk.path.name, pattern) for pattern in left_out)]
        self._examples = [talk.example() for talk in used]
        self._made: dict[frozenset[str], Projection] = {}

    def without(self, *people: str) -> Projection:
        """A projection that was fitted to nobody of `people`."""
        key = frozenset(people)
        if key not in self._made:
            self._made[key] = fit_projection([each for each in self._examples if each.person not in key])
        return self._made[key]


def speaks(talk: Talk, first: int, frames: int) -> bool:
    """Whether a window holds speech and a mouth that moves."""
    speech = talk.speech[first : first + frames]
    opening = measure_mouth_opening(talk.landmarks_px[first : first + frames])
    return float((speech >= 0.5).mean()) >= 0.3 and float(opening.std()) > 0.01


def measure_offsets(talks: Sequence[Talk], fits: Fits) -> list[tuple[Talk, float, float]]:
    """Error of each estimate in frames, and its confidence."""
    found: list[tuple[Talk, float, float]] = []
    for talk in talks:
        projection = fits.without(talk.person)
        example = talk.example()
        if talk.frames < OFFSET_FRAMES:
            continue
        own = correlation_by_shift(example.mouth, example.sound, MAXIMUM_SHIFT, projection)
        own_offset = int(own.argmax()) - MAXIMUM_SHIFT
        for first in range(0, talk.frames - OFFSET_FRAMES + 1, STRIDE_FRAMES):
            if not speaks(talk, first, OFFSET_FRAMES):
                continue
            mouth = mouth_features(talk.landmarks_px[first : first + OFFSET_FRAMES])
            for shift in SHIFTS:
                sound = sound_features(talk.sound_of(first - shift, first - shift + OFFSET_FRAMES))
                curve = correlation_by_shift(mouth, sound, MAXIMUM_SHIFT, projection)
                error = int(curve.argmax()) - MAXIMUM_SHIFT - shift - own_offset
                found.append((talk, abs(error), float(curve.max() - np.median(curve))))
    return found


def measure_pairs(
    talks: Sequence[Talk], fits: Fits, frames: int, settings: SpeakerSettings
) -> NDArray[np.float64]:
    """[PAIRS] score of the speaker minus that of the other, who also speaks; people are drawn evenly."""
    rng = np.random.default_rng(0)
    windows: dict[str, list[tuple[Talk, int]]] = {}
    for talk in talks:
        for first in range(0, talk.frames - frames + 1, 25):
            if speaks(talk, first, frames):
                windows.setdefault(talk.person, []).append((talk, first))
    people = sorted(windows)
    margins: list[float] = []
    for _ in range(PAIRS):
        one, other = (people[place] for place in rng.choice(len(people), 2, replace=False))
        (talk, first), (rival, start) = (
            windows[each][rng.integers(len(windows[each]))] for each in (one, other)
        )
        sound = sound_features(talk.sound_of(first, first + frames))
        projection = fits.without(one, other)
        scores = [
            speaking_score(
                mouth_features(each.landmarks_px[begin : begin + frames]) @ projection.mouth,
                sound @ projection.sound,
                projection,
                settings,
            )
            for each, begin in ((talk, first), (rival, start))
        ]
        margins.append(float(scores[0] - scores[1]))
    return np.asarray(margins)


def write_projection(path: Path, projection: Projection, examples: int, people: int) -> None:
    """Write the table that `load_projection` reads."""
    comment = (
        "Canonical components of mouth and sound: a row of correlations, then the rows of both matrices.\n"
        f"Fitted by benchmarks.preprocessing.mouth_sound to {examples} tracks of {people} people."
    )
    rows = np.concatenate([projection.correlations[None], projection.mouth, projection.sound])
    np.savetxt(path, rows, fmt="%.5g", delimiter=",", header=comment)


@click.command()
@click.argument("videos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--leave-out", multiple=True, help="Names of videos, with wildcards, that no fit uses.")
@click.option("--unknown", multiple=True, help="Names of videos that are not in sync: used for nothing.")
@click.option("--write", "table", type=click.Path(path_type=Path), help="Write the projection of all here.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(
    videos: Path,
    leave_out: tuple[str, ...],
    unknown: tuple[str, ...],
    table: Path | None,
    json_path: Path | None,
) -> None:
    """Measure on VIDEOS, and fit."""
    with tempfile.TemporaryDirectory() as folder:
        talks = list(read_talks(videos, Path(folder)))
    talks = [talk for talk in talks if not any(fnmatch(talk.path.name, pattern) for pattern in unknown)]
    started = cpu_seconds()
    fits = Fits(talks, leave_out)
    offsets = measure_offsets(talks, fits)
    results: dict[str, Any] = {"talks": len(talks), "people": len({talk.person for talk in talks})}
    within = np.array([error <= 1 for _, error, _ in offsets])
    confidence = np.array([each[2] for each in offsets])
    rows: list[list[Any]] = []
    people = sorted({talk.person for talk, _, _ in offsets})
    of_people = [
        np.mean([error <= 1 for talk, error, _ in offsets if talk.person == each]) for each in people
    ]
    results["offsets_mean_over_people"] = float(np.mean(of_people))
    for share in (1.0, 0.8, 0.6):
        bound = float(np.quantile(confidence, 1.0 - share))
        kept = confidence >= bound
        rows.append([f"most confident {share:.0%}", int(kept.sum()), bound, float(within[kept].mean())])
        results[f"offsets_within_1_of_{share}"] = rows[-1][-1]
    columns = ["", "windows x shifts", "confidence", "within 1 frame"]
    show("Known shifts of windows of 64 frames", columns, rows)
    click.echo(f"mean over people: {results['offsets_mean_over_people']:.3f}")
    rows = []
    settings = SpeakerSettings()
    for frames in (50, 64):
        margins = measure_pairs(talks, fits, frames, settings)
        right = float((margins >= settings.minimum_margin).mean())
        wrong = float((margins <= -settings.minimum_margin).mean())
        rows.append([f"{frames} frames", float((margins > 0).mean()), right, wrong, 1.0 - right - wrong])
        names = ("better", "right", "wrong", "unsure")
        results[f"pairs_{frames}"] = dict(zip(names, rows[-1][1:], strict=True))
    show("Whose mouth goes with the sound", ["", "higher score", "right", "wrong", "unsure"], rows)
    click.echo(f"{cpu_seconds() - started:.0f} CPU s after tracking")
    write_json(json_path, results)
    if table is not None:
        used = [talk for talk in talks if not any(fnmatch(talk.path.name, pattern) for pattern in leave_out)]
        write_projection(table, fits.without(), len(used), len({talk.person for talk in used}))


if __name__ == "__main__":
    main()
