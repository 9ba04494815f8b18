"""Which videos an evaluation makes: a portrait and four drivers each, drawn once and kept in a file.

The same data set, seed, split and counts draw the same list, and the file draws it anywhere, so two people
get the same table. Imports no torch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from evaluation.config import ChosenSplit
from evaluation.controls import CONTROLS, Control
from evaluation.records import Task
from training.data.index import ClipIndex

MINIMUM_FRAMES: Final = 10
"""Of shorter clips too little can be told: a lip sync scorer's instant alone takes five frames."""


@dataclass(frozen=True)
class Reenactment:
    """One video: who is seen, and which clip drives what.

    Attributes:
        name: of the video; unique in its list.
        task: self: a clip drives its own first frame; cross: four clips of other people; control: a
            self video of which one driver alone was changed.
        portrait: Key of the clip of which one frame is the portrait.
        portrait_frame: Which one.
        drivers: Control -> key of the clip that drives it, frame t of the video by its frame t.
        frames: Length of the video.
        base: The unchanged self video; control alone.

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
            raise ValueError(f"{self.name}: drivers of {sorted(self.drivers)}, need {sorted(CONTROLS)}")
        if (self.task == "control") != (self.base is not None):
            raise ValueError(f"{self.name}: task {self.task} with base {self.base!r}")
        if self.frames < 1 or self.portrait_frame < 0:
            raise ValueError(f"{self.name}: {self.frames} frames of portrait frame {self.portrait_frame}")

    def clips(self) -> tuple[str, ...]:
        """Keys of its clips, each once."""
        return tuple(dict.fromkeys([self.portrait, *self.drivers.values()]))

    def changed(self) -> Control:
        """The one control whose driver is not the portrait's own clip; of the task control.

        Raises:
            ValueError: none or several are.
        """
        changed: list[Control] = [control for control in CONTROLS if self.drivers[control] != self.portrait]
        if len(changed) != 1:
            raise ValueError(f"{self.name}: changed are {changed}, need one control")
        return changed[0]


@dataclass(frozen=True)
class ReenactmentPlan:
    """All videos of an evaluation.

    Attributes:
        name: For tables and file names.
        seed: Of the draw.
        split: Of the data set.
        dataset: Content digest of the data set that it was drawn from.
        reenactments: In the order in which they are made.
        notes: What could not be drawn as wanted, and why.

    Raises:
        ValueError: names are not unique, or a base is not in the list.
    """

    name: str
    seed: int
    split: ChosenSplit
    dataset: str
    reenactments: tuple[Reenactment, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [reenactment.name for reenactment in self.reenactments]
        twice = sorted({name for name in names if names.count(name) > 1})
        bases = {reenactment.base for reenactment in self.reenactments if reenactment.base is not None}
        if twice or not bases <= set(names):
            raise ValueError(
                f"{self.name}: names twice: {twice}; bases missing: {sorted(bases - set(names))}"
            )

    def of_task(self, task: Task) -> list[Reenactment]:
        """The videos of one kind."""
        return [reenactment for reenactment in self.reenactments if reenactment.task == task]

    def named(self, name: str) -> Reenactment:
        """The video of a name."""
        (found,) = [reenactment for reenactment in self.reenactments if reenactment.name == name]
        return found

    def clips(self) -> tuple[str, ...]:
        """Keys of all clips, each once."""
        return tuple(dict.fromkeys(key for one in self.reenactments for key in one.clips()))


@dataclass(frozen=True)
class VideoCounts:
    """How many videos are wanted of each kind, and how long they may be."""

    self_videos: int
    cross_videos: int
    control_bases: int
    frames: int


def draw_plan(
    index: ClipIndex, dataset: str, seed: int, split: ChosenSplit, counts: VideoCounts
) -> ReenactmentPlan:
    """Draw the list: people take turns, and of a person's clips the longest come first.

    Args:
        index: Of the split.
        dataset: Content digest of the data set.
        seed: The order of the index does not matter.
        split: For the file.
        counts: Where clips are too few there are fewer videos, and a note.

    Raises:
        ValueError: no video can be made.
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
    made = (*selves, *crosses, *controls)
    if not made:
        raise ValueError(
            f"split {split}: no video can be made of {len(deck.clips)} clips of {MINIMUM_FRAMES} frames or "
            f"more (asked for {counts})"
        )
    notes = _notes(deck, counts, len(selves), len(crosses), len(controls) // len(CONTROLS))
    return ReenactmentPlan(f"{split}-seed{seed}", seed, split, dataset, made, notes)


@dataclass(frozen=True)
class _Deck:
    """Clips in the order in which they are drawn: people in turn, their longest first."""

    clips: tuple[str, ...]
    identity: Mapping[str, str]
    frames: Mapping[str, int]

    def others(self, clip: str, start: int) -> list[str]:
        """Clips of other people, longest first; of the same person where there are none.

        start: where to begin among those of one length, so that not every video has the same drivers.
        """
        others = [one for one in self.clips if self.identity[one] != self.identity[clip]]
        found = others or [one for one in self.clips if one != clip]
        start %= len(found)
        return sorted(found[start:] + found[:start], key=lambda one: -self.frames[one])


def _deck(index: ClipIndex, seed: int, longest: int) -> _Deck:
    rows = {index.key(clip): clip for clip in range(len(index))}
    frames = {key: min(int(index.frame_counts[rows[key]]), longest) for key in sorted(rows)}
    identity = {key: index.identity(clip) for key, clip in rows.items()}
    lot = np.random.default_rng(seed)
    shuffled = [key for key in lot.permutation(sorted(rows)).tolist() if frames[key] >= MINIMUM_FRAMES]
    hands: dict[str, list[str]] = {}
    for key in sorted(shuffled, key=lambda key: -frames[key]):  # stable: equal lengths stay shuffled
        hands.setdefault(identity[key], []).append(key)
    people = lot.permutation(sorted(hands)).tolist()
    rounds = range(max((len(hand) for hand in hands.values()), default=0))
    turns = [hands[person][number] for number in rounds for person in people if number < len(hands[person])]
    return _Deck(tuple(turns), identity, frames)


def _self_video(deck: _Deck, number: int, clip: str) -> Reenactment:
    drivers: dict[Control, str] = dict.fromkeys(CONTROLS, clip)
    return Reenactment(f"self-{number:02d}", "self", clip, 0, drivers, deck.frames[clip])


def _cross_video(deck: _Deck, number: int) -> Reenactment:
    portrait = deck.clips[number % len(deck.clips)]
    others = deck.others(portrait, number)
    # A person with too few clips lends one twice: the four are then not four different ones.
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
    told = f"the split has {len(deck.clips)} clips of {people} people"
    notes = [
        f"{made} of {wanted} {name}: {told}"
        for name, made, wanted in (
            ("self videos", selves, counts.self_videos),
            ("cross videos", crosses, counts.cross_videos),
            ("bases of control videos", bases, counts.control_bases),
        )
        if made < wanted
    ]
    if people == 1 and len(deck.clips) > 1:
        notes.append("the split has one person: drivers are other clips of the same person")
    return tuple(notes)


def write_plan(path: Path, plan: ReenactmentPlan) -> None:
    """Write a list as JSON."""
    path.write_text(json.dumps(asdict(plan), indent=1) + "\n", "utf-8")


def read_plan(path: Path) -> ReenactmentPlan:
    """Read what `write_plan` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such list; says where.
    """
    try:
        return TypeAdapter(ReenactmentPlan).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: no list of reenactments ({where}: {first['msg']})") from error


def require_clips(plan: ReenactmentPlan, keys: Sequence[str], where: str) -> None:
    """Hold that every clip of a list is there.

    Raises:
        ValueError: some are not; names them.
    """
    missing = sorted(set(plan.clips()) - set(keys))
    if missing:
        raise ValueError(
            f"{where} lacks {len(missing)} of {len(plan.clips())} clips of the list {plan.name}, "
            f"such as {', '.join(missing[:3])}: it is not the data set that the list was drawn from"
        )
