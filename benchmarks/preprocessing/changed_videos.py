"""Changed videos through `face_tracks` and `clips`: is any clip wrong without a word?

Parts of 2.5 s of VIDEOS (one folder a person) are changed as in `video_changes`. Each accepted clip is
compared with the crops and the sound of the unchanged parts: it must show one person, picture by picture in
step with that person's own sound, undamaged and in the right colours. What is refused is counted by reason.
Findings and a contact sheet of every kind (of each clip the first, middle and last crop, and below them what
they should show) are written into OUT.

    python -m benchmarks.preprocessing.changed_videos VIDEOS OUT [--count 300] [--first 0] [--seed 0]
"""

import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.preprocessing.video_changes import AAC, CHANGES, X264, Changed, run
from preprocessing.clips.listed import SourceOfClips
from preprocessing.clips.selection import ClipSettings, make_clips
from preprocessing.clips.store import read_clip_table, read_clips
from preprocessing.faces.candidate_tables import read_video_facts
from preprocessing.faces.face_tracks import make_face_tracks
from preprocessing.faces.video import FaceTrackSettings, VideoToTrack
from preprocessing.media.container import RefusedVideo
from preprocessing.schema import SAMPLES_PER_FRAME, Clip
from preprocessing.sources.probe import ProbeSettings, probe
from storage.fingerprint import file_sha256

SECONDS: Final = 2.5
MINIMUM_FRAMES: Final = 50  # of a part, in accepted clips
SIDE_PX: Final = 56  # of compared crops
MINIMUM_LIKENESS: Final = 0.85  # correlation of each crop with the one that it should be
MAXIMUM_COLOUR_ERROR: Final = 14.0  # grey levels, mean of a channel; HDR's highlights are not restored
MAXIMUM_BLOCK_ERROR: Final = 40.0  # grey levels, mean of 7 x 7 px
MAXIMUM_STEP: Final = 2  # frames between a crop and its place, as where pictures are dropped
MINIMUM_SOUND_LIKENESS: Final = 0.35
MAXIMUM_ASYNCHRONY: Final = 1.25  # frames

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """An unchanged part of a video."""

    name: str
    path: Path
    crops: dict[int, Array] = field(repr=False)  # [56, 56, 3] by frame
    sound: Array = field(repr=False)


@dataclass(frozen=True)
class Finding:
    """What became of one accepted clip."""

    crops: list[Array]
    expected: list[Array]
    fault: str  # "" where it is right


def cut_parts(videos: Path, folder: Path) -> list[Path]:
    """Seconds 0.4 to 2.9 of one or two videos of each person, at most 480 px high."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    for person in sorted(each for each in videos.iterdir() if each.is_dir()):
        for path in sorted(each for each in person.iterdir() if each.is_file())[:2]:
            part = folder / f"{person.name}-{path.stem[-12:]}.mp4"
            size = "scale=-2:'min(480,ih)',fps=25"
            if not part.exists():
                options = ("-vf", size, "-t", str(SECONDS), *X264, "-g", "25", *AAC, "-ar", "44100")
                run(part, *options, inputs=[["-ss", "0.4", path]])
            parts.append(part)
    return parts


def through_chain(paths: Sequence[Path], folder: Path) -> tuple[dict[str, list[Clip]], dict[str, str]]:
    """Accepted clips by file, and what is said of every file."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tracks").mkdir(parents=True)
    (folder / "clips").mkdir(exist_ok=True)
    said: dict[str, str] = {}
    names: dict[str, str] = {}
    tasks: list[VideoToTrack] = []
    for path in paths:
        try:
            probe(path, ProbeSettings())
            tasks.append(VideoToTrack(file_sha256(path)[:16], path))
            names[tasks[-1].video_id] = path.stem
        except (RefusedVideo, OSError) as error:
            said[path.stem] = f"probe: {error}"
    make_face_tracks(tasks, FaceTrackSettings(), folder / "tracks", workers=0)
    sources = {task.video_id: SourceOfClips(task.video_id, task.video_id, (), (0, 0)) for task in tasks}
    make_clips(sources, folder / "tracks", "official", ClipSettings(), folder / "clips")
    for facts in read_video_facts(folder / "tracks"):
        said[names[facts["video_id"]]] = facts["refused"] and f"face_tracks: {facts['refused']}"
    for row in read_clip_table(folder / "clips").to_pylist():
        said[names[row["video_id"]]] += f" {row['reason'] or 'accepted'}:{row['frames']}"
    clips: dict[str, list[Clip]] = {}
    for clip in read_clips(folder / "clips"):
        clips.setdefault(names[clip.source.video_id], []).append(clip)
    return clips, said


def crops_of(clip: Clip) -> list[Array]:
    """Small crops [56, 56, 3] of a clip."""
    decoded = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in clip.frames_jpeg]
    size = (SIDE_PX, SIDE_PX)
    return [np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_AREA), np.float32) for each in decoded]


def likeness(one: Array, other: Array) -> float:
    """Correlation of two crops' grey levels."""
    a, b = one.mean(axis=2).ravel(), other.mean(axis=2).ravel()
    return float(np.corrcoef(a, b)[0, 1])


def place_in(crops: Sequence[Array], part: Part) -> tuple[float, int]:
    """Mean likeness at the best place of a clip in a part, and that place in frames."""
    frames = sorted(part.crops)
    if not frames:
        return -1.0, 0
    alike = np.full((len(crops), frames[-1] + 1), np.nan)
    alike[:, frames] = _unit(crops) @ _unit([part.crops[frame] for frame in frames]).T
    best = (-1.0, 0)
    for place in range(-len(crops) // 2, frames[-1] + 1):
        along = np.diagonal(alike, place)
        known = along[~np.isnan(along)]
        if len(known) >= min(len(crops), 12):
            best = max(best, (float(known.mean()), place))
    return best


def _unit(crops: Sequence[Array]) -> Array:
    """[N, D] grey levels of crops, of mean 0 and length 1."""
    grey = np.stack([crop.mean(axis=2).ravel() for crop in crops])
    grey -= grey.mean(axis=1, keepdims=True)
    return np.asarray(grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6), np.float32)


def sound_place(sound: Array, part: Part) -> tuple[float, float]:
    """Likeness of a clip's sound at its best place in a part, and that place in frames."""
    padded = np.pad(part.sound, len(sound))
    size = 1 << int(np.ceil(np.log2(len(padded))))
    product = np.fft.irfft(np.fft.rfft(padded, size) * np.conj(np.fft.rfft(sound, size)), size)
    energy = np.cumsum(np.append(0.0, padded**2))
    reach = len(padded) - len(sound) + 1
    power = energy[len(sound) :][:reach] - energy[:reach]
    curve = np.abs(product[:reach]) / np.sqrt(np.maximum(power, 1e-3) * max(float(sound @ sound), 1e-9))
    place = int(curve.argmax())
    return float(curve[place]), (place - len(sound)) / SAMPLES_PER_FRAME


def judge(clip: Clip, changed: Changed, parts: Sequence[Part], colours_count: bool) -> Finding:
    """Compare an accepted clip with the parts that it was made of."""
    crops = crops_of(clip)
    (alike, place), part = max(((place_in(crops, part), part) for part in parts), key=lambda pair: pair[0])
    expected: list[Array] = []
    worst = blocks = 0.0
    colours: list[Array] = []
    for t, crop in enumerate(crops):
        around = range(place + t - MAXIMUM_STEP, place + t + MAXIMUM_STEP + 1)
        near = [part.crops[at] for at in around if at in part.crops]
        if not near:
            continue
        right = max(near, key=lambda each: likeness(crop, each))
        expected.append(right)
        worst = max(worst, 1.0 - likeness(crop, right))
        colours.append((crop - right).mean(axis=(0, 1)))
        grey = cv2.blur((crop - right).mean(axis=2) - (crop - right).mean(), (7, 7))
        blocks = max(blocks, float(np.abs(grey).max()))
    colour_error = float(np.abs(np.mean(colours, axis=0)).max()) if colours else 0.0
    (heard, sound_at), speaker = max(
        ((sound_place(clip.sound, part), part) for part in parts), key=lambda pair: pair[0]
    )
    apart = place - sound_at - 25 * changed.sound_later_seconds
    faults = [
        f"likeness {1.0 - worst:.2f}" if 1.0 - worst < MINIMUM_LIKENESS else "",
        f"blocks {blocks:.0f}" if blocks > MAXIMUM_BLOCK_ERROR else "",
        f"colour {colour_error:.0f}" if colours_count and colour_error > MAXIMUM_COLOUR_ERROR else "",
        f"sound of {speaker.name}" if speaker is not part else "",
        f"sound {heard:.2f}" if heard < MINIMUM_SOUND_LIKENESS else "",
        f"out of step by {apart:.1f} frames" if abs(apart) > MAXIMUM_ASYNCHRONY else "",
    ]
    fault = "; ".join(filter(None, faults))
    return Finding(crops, expected, fault and f"{fault} (like {alike:.2f}, place {place})")


def sheet_of(findings: Sequence[tuple[str, Finding]], path: Path) -> None:
    """Crops above what they should show; names of wrong ones in red."""
    tiles: list[NDArray[np.uint8]] = []
    for name, found in findings:
        both = [found.crops, found.expected or found.crops]
        rows = [np.hstack([row[at] for at in (0, len(row) // 2, len(row) - 1)]) for row in both]
        tile = np.asarray(cv2.resize(np.vstack(rows), (252, 168)), np.float32)
        tile = np.asarray(np.vstack([np.zeros((14, 252, 3), np.float32), tile]).clip(0, 255), np.uint8)
        colour = (80, 80, 255) if found.fault else (255, 255, 255)
        tiles.append(np.asarray(cv2.putText(tile, name[:44], (2, 10), 0, 0.33, colour, 1), np.uint8))
    if tiles:
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 6)
        cv2.imwrite(str(path), np.vstack([np.hstack(tiles[at : at + 6]) for at in range(0, len(tiles), 6)]))


def write_changed(
    sources: Sequence[Path], folder: Path, numbers: range, seed: int, chosen: Sequence[str] = ()
) -> dict[str, tuple[str, str, Changed, tuple[Path, Path]]]:
    """Changed files by stem: group, kind, file, source and other person's; of the chosen kinds, if any."""
    kinds = [(group, kind, change) for group, of in CHANGES.items() for kind, change in of.items()]
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, tuple[str, str, Changed, tuple[Path, Path]]] = {}
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        group, kind, change = kinds[number % len(kinds)]
        if chosen and kind not in chosen:
            continue
        source = sources[int(rng.integers(len(sources)))]
        person = source.name[: source.name.index("-", 7)]
        others = [each for each in sources if not each.name.startswith(f"{person}-")]
        other = others[int(rng.integers(len(others)))]
        try:
            changed = change(source, other, folder / f"{number:04d}", rng)
        except subprocess.CalledProcessError as error:
            click.echo(f"{number} {kind}: {error.stderr.decode()[-200:]}")
            continue
        made[changed.path.stem] = (group, kind, changed, (source, other))
    return made


@click.command()
@click.argument("videos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--count", default=300, show_default=True, help="How many.")
@click.option("--first", default=0, show_default=True, help="Number of the first; each has its own seed.")
@click.option("--seed", default=0, show_default=True)
@click.option("--kind", "kinds", multiple=True, help="Only changes of this kind, under the same numbers.")
def main(videos: Path, out: Path, count: int, first: int, seed: int, kinds: tuple[str, ...]) -> None:
    """Change parts of VIDEOS and say what becomes of them; exits with 1 where an accepted clip is wrong."""
    paths = cut_parts(videos, out / "parts")
    clean, _ = through_chain(paths, out / "clean")
    parts: dict[str, Part] = {}
    for path in paths:
        clips = clean.get(path.stem, [])
        crops = {clip.source.first_frame + t: crop for clip in clips for t, crop in enumerate(crops_of(clip))}
        sound = np.zeros(SAMPLES_PER_FRAME * 100, np.float32)
        for clip in clips:
            start = clip.source.first_frame * SAMPLES_PER_FRAME
            sound[start : start + len(clip.sound)] = clip.sound
        parts[path.stem] = Part(path.stem, path, crops, sound)
    whole = [path for path in paths if len(parts[path.stem].crops) >= MINIMUM_FRAMES]
    click.echo(f"{len(whole)} of {len(paths)} parts have clips to compare with")
    made = write_changed(whole, out / f"changed_{first}_{seed}", range(first, first + count), seed, kinds)
    clips, said = through_chain([each[2].path for each in made.values()], out / f"chain_{first}_{seed}")
    report(made, clips, said, parts, out)


def report(
    made: dict[str, tuple[str, str, Changed, tuple[Path, Path]]],
    clips: dict[str, list[Clip]],
    said: dict[str, str],
    parts: dict[str, Part],
    out: Path,
) -> None:
    """Print a line a file, write the sheets, exit with 1 after a fault."""
    outcomes: Counter[str] = Counter()
    of_group: dict[str, list[tuple[str, Finding]]] = {}
    for stem, (group, kind, changed, sources) in made.items():
        found = [
            judge(clip, changed, [parts[each.stem] for each in sources], kind != "grey")
            for clip in clips.get(stem, [])
        ]
        faults = "; ".join(each.fault for each in found if each.fault)
        outcome = "wrong" if faults else "accepted" if found else "refused"
        outcomes[f"{group}: {outcome}"] += 1
        click.echo(f"{outcome:9}{stem} {group}, {kind}: {said.get(stem, '')} {faults}")
        of_group.setdefault(group, []).extend((f"{stem} {kind}", each) for each in found)
    for group, findings in of_group.items():
        sheet_of(findings, out / f"{group.replace(' ', '_')}_{min(made)}.png")
    rows: list[Any] = sorted(outcomes.items())
    click.echo("; ".join(f"{name} {number}" for name, number in rows))
    if any(name.endswith("wrong") for name in outcomes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
