"""The plan of an evaluation's videos: a portrait and four drivers each, drawn once and stored in a file.

The same data set, seed, split and counts give the same plan; the file gives it on any machine, so that
results are reproducible. Imports no torch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from evaluation.controls import CONTROLS, Control
from evaluation.records import Task
from training.data.index import ClipIndex, Split

MINIMUM_FRAMES: Final = 10
"""Shorter clips say too little: a single window of a lip sync scorer takes five frames."""


SPLIT_TITLES: Final[Mapping[Split, str]] = {
    "test": "test split, people never trained on",
    "validation": "validation split, people never trained on",
    "held_out_clips": "held-out clips of people that were trained on",
    "train": "clips that were trained on",
}


@dataclass(frozen=True)
class Reenactment:
    """One video: its portrait, and the clip that drives each control.

    Attributes:
        name: Of the video; unique in its plan.
        task: See `evaluation.records.Task`.
        portrait: Key of the clip that the portrait is a frame of.
        portrait_frame: Index of that frame.
        drivers: Control -> key of the clip whose frame t drives frame t of the video.
        frames: Length of the video.
        base: The unchanged self video; task control only.

    Raises:
        ValueError: a driver is missing, or the base.
    """

    name: str
    task: Task
    portrait: str
    portrait_frame: int
    drivers: Mapping[Control, str]
    frames: int
    base: str | None = None

    def __post_init__(self) -> None:
        if set(self.drivers) != set(CONTROLS):
            raise ValueError(f"{self.name}: need drivers of {sorted(CONTROLS)}, got {sorted(self.drivers)}")
        if (self.task == "control") != (self.base is not None):
            raise ValueError(f"{self.name}: task {self.task} with base {self.base!r}")
        if self.frames < 1 or self.portrait_frame < 0:
            raise ValueError(f"{self.name}: {self.frames} frames of portrait frame {self.portrait_frame}")

    def clips(self) -> tuple[str, ...]:
        """Keys of its clips, each once."""
        return tuple(dict.fromkeys([self.portrait, *self.drivers.values()]))

    def changed(self) -> Control:
        """The control whose driver is not the portrait's own clip; task control only.

        Raises:
            ValueError: none or several are.
        """
        changed: list[Control] = [control for control in CONTROLS if self.drivers[control] != self.portrait]
        if len(changed) != 1:
            raise ValueError(f"{self.name}: need one changed control, got {changed}")
        return changed[0]


@dataclass(frozen=True)
class ReenactmentPlan:
    """All videos of an evaluation.

    Attributes:
        name: For tables and file names.
        seed: Of the draw.
        split: Of the data set.
        dataset: Content digest of the data set from which it was drawn.
        reenactments: In the order in which they are rendered.
        notes: What could not be drawn as configured, and why.

    Raises:
        ValueError: names are not unique, or a base is not in the plan.
    """

    name: str
    seed: int
    split: Split
    dataset: str
    reenactments: tuple[Reenactment, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [reenactment.name for reenactment in self.reenactments]
        twice = sorted({name for name in names if names.count(name) > 1})
        bases = {reenactment.base for reenactment in self.reenactments if reenactment.base is not None}
        if twice or not bases <= set(names):
            raise ValueError(
                f"{self.name}: duplicate names {twice}, missing bases {sorted(bases - set(names))}"
            )

    @property
    def where(self) -> str:
        """Whose clips were drawn."""
        return SPLIT_TITLES[self.split]

    def of_task(self, task: Task) -> list[Reenactment]:
        """The reenactments of a task."""
        return [reenactment for reenactment in self.reenactments if reenactment.task == task]

    def named(self, name: str) -> Reenactment:
        """The reenactment of a name."""
        (reenactment,) = [entry for entry in self.reenactments if entry.name == name]
        return reenactment

    def clips(self) -> tuple[str, ...]:
        """Keys of all clips, each once."""
        return tuple(dict.fromkeys(key for entry in self.reenactments for key in entry.clips()))


@dataclass(frozen=True)
class VideoCounts:
    """Number of videos of each task, and their maximum length."""

    self_videos: int
    cross_videos: int
    control_bases: int
    frames: int


def draw_plan(
    index: ClipIndex, dataset: str, seed: int, split: Split, counts: VideoCounts
) -> ReenactmentPlan:
    """Draw a plan: one clip of each person in turn, longest clips first.

    Args:
        index: Of the split.
        dataset: Content digest of the data set.
        seed: Of the draw, which does not depend on the order of the index.
        split: Recorded in the plan.
        counts: With too few clips there are fewer videos, and a note.

    Raises:
        ValueError: no clip is long enough.
    """
    deck = _deck(index, seed, counts.frames)
    selves = [_self_video(deck, number, clip) for number, clip in enumerate(deck.clips[: counts.self_videos])]
    crosses = (
        [_cross_video(deck, number) for number in range(counts.cross_videos)] if len(deck.clips) > 1 else []
    )
    controls = [
        video
        for number, base in enumerate(selves[: counts.control_bases])
        if len(deck.clips) > 1
        for video in _control_videos(deck, number, base)
    ]
    reenactments = (*selves, *crosses, *controls)
    if not reenactments:
        raise ValueError(
            f"split {split} has {len(deck.clips)} clips of {MINIMUM_FRAMES} frames or more, too few for "
            f"any of {counts}"
        )
    notes = _notes(deck, counts, len(selves), len(crosses), len(controls) // len(CONTROLS))
    return ReenactmentPlan(f"{split}-seed{seed}", seed, split, dataset, reenactments, notes)


@dataclass(frozen=True)
class _Deck:
    """Clips in the order in which they are drawn: one of each person in turn, their longest first."""

    clips: tuple[str, ...]
    identity: Mapping[str, str]
    frames: Mapping[str, int]

    def others(self, clip: str, start: int) -> list[str]:
        """Clips of other people, longest first; of the same person if there are none.

        start: Rotates clips of one length, so that not every video has the same drivers.
        """
        others = [key for key in self.clips if self.identity[key] != self.identity[clip]]
        keys = others or [key for key in self.clips if key != clip]
        start %= len(keys)
        return sorted(keys[start:] + keys[:start], key=lambda key: -self.frames[key])


def _deck(index: ClipIndex, seed: int, longest: int) -> _Deck:
    rows = {index.key(clip): clip for clip in range(len(index))}
    frames = {key: min(int(index.frame_counts[rows[key]]), longest) for key in sorted(rows)}
    identity = {key: index.identity(clip) for key, clip in rows.items()}
    rng = np.random.default_rng(seed)
    shuffled = [key for key in rng.permutation(sorted(rows)).tolist() if frames[key] >= MINIMUM_FRAMES]
    by_person: dict[str, list[str]] = {}
    for key in sorted(shuffled, key=lambda key: -frames[key]):  # stable: equal lengths stay shuffled
        by_person.setdefault(identity[key], []).append(key)
    people = rng.permutation(sorted(by_person)).tolist()
    rounds = range(max((len(keys) for keys in by_person.values()), default=0))
    clips = [
        by_person[person][number] for number in rounds for person in people if number < len(by_person[person])
    ]
    return _Deck(tuple(clips), identity, frames)


def _self_video(deck: _Deck, number: int, clip: str) -> Reenactment:
    drivers: dict[Control, str] = dict.fromkeys(CONTROLS, clip)
    return Reenactment(f"self-{number:02d}", "self", clip, 0, drivers, deck.frames[clip])


def _cross_video(deck: _Deck, number: int) -> Reenactment:
    portrait = deck.clips[number % len(deck.clips)]
    others = deck.others(portrait, number)
    # With fewer than four other clips some drive several controls.
    drivers: dict[Control, str] = {
        control: others[place % len(others)] for place, control in enumerate(CONTROLS)
    }
    frames = min(deck.frames[clip] for clip in drivers.values())
    return Reenactment(f"cross-{number:02d}", "cross", portrait, 0, drivers, frames)


def _control_videos(deck: _Deck, number: int, base: Reenactment) -> list[Reenactment]:
    own = base.portrait
    other = deck.others(own, number)[0]
    frames = min(deck.frames[own], deck.frames[other])
    unchanged: dict[Control, str] = dict.fromkeys(CONTROLS, own)
    return [
        Reenactment(
            f"control-{number:02d}-{control}",
            "control",
            own,
            0,
            {**unchanged, control: other},
            frames,
            base.name,
        )
        for control in CONTROLS
    ]


def _notes(deck: _Deck, counts: VideoCounts, selves: int, crosses: int, bases: int) -> tuple[str, ...]:
    people = len({deck.identity[clip] for clip in deck.clips})
    available = f"the split has {len(deck.clips)} clips of {people} people"
    notes = [
        f"{drawn} of {wanted} {name}: {available}"
        for name, drawn, wanted in (
            ("self videos", selves, counts.self_videos),
            ("cross videos", crosses, counts.cross_videos),
            ("bases of control videos", bases, counts.control_bases),
        )
        if drawn < wanted
    ]
    if people == 1 and len(deck.clips) > 1:
        notes.append("the split has one person: drivers are other clips of the same person")
    return tuple(notes)


def write_plan(path: Path, plan: ReenactmentPlan) -> None:
    """Write a plan as JSON."""
    path.write_text(json.dumps(asdict(plan), indent=1) + "\n", "utf-8")


def read_plan(path: Path) -> ReenactmentPlan:
    """Read what `write_plan` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a valid plan; names the field.
    """
    try:
        return TypeAdapter(ReenactmentPlan).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: not a reenactment plan ({where}: {first['msg']})") from error


def require_clips(plan: ReenactmentPlan, keys: Sequence[str], where: str) -> None:
    """Check that every clip of a plan exists.

    Raises:
        ValueError: some do not; names them.
    """
    missing = sorted(set(plan.clips()) - set(keys))
    if missing:
        raise ValueError(
            f"{where} lacks {len(missing)} of {len(plan.clips())} clips of the plan {plan.name}, such as "
            f"{', '.join(missing[:3])}: the plan was drawn from another data set"
        )
