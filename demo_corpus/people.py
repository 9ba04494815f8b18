"""The people of a corpus: each from a seed of its own, and of photos that no other split shares.

A person depends on the corpus' seed, its number and the photos only, never on the number of people.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from demo_corpus.expression import FaceRig, build_rig
from demo_corpus.head import build_head
from demo_corpus.portraits import BUNDLED, Portrait, PortraitPlace, load_bundled, load_portrait
from demo_corpus.rendering.look import draw_look
from storage.atomic import write_atomically

PEOPLE_FILE: Final = "people.json"
HELD_OUT: Final = ("validation", "test")
HELD_OUT_PHOTO_SHARE: Final = 0.2  # of the photos, for each of the two held-out splits
FIRST_PEOPLE: Final = 12  # of which every third is held out, so that a small corpus has two in each split
MOST_PHOTOS: Final = 3  # that one face is mixed from

Source = Path | PortraitPlace


@dataclass(frozen=True)
class Person:
    """One person of the corpus."""

    name: str  # of the folder, which names its split: demo-0000, demo-validation-0002, demo-test-0005
    number: int
    split: str  # train, validation or test
    seed: int  # of its look, voice and videos
    photos: tuple[str, ...]  # names, the first gives hair and shoulders
    sources: tuple[int, ...]  # their places in the list of photos

    def part_seed(self, part: int) -> int:
        """Seed of the look (0), the voice (1) or the video `part - 2`."""
        return mix_seed(self.seed, part)


def mix_seed(*parts: int) -> int:
    """One seed mixed from several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def split_of(number: int) -> str:
    """Of the first twelve people every third is held out, then every fifth: validation and test in turn."""
    every, offset = (3, 0) if number < FIRST_PEOPLE else (5, FIRST_PEOPLE)
    turn, place = divmod(number - offset, every)
    return HELD_OUT[turn % 2] if place == every - 1 else "train"


def photo_pools(count: int) -> dict[str, range]:
    """Which of `count` photos each split uses: the last ones are held out, if there are three or more."""
    held_out = 0 if count < 3 else max(1, round(HELD_OUT_PHOTO_SHARE * count))
    trained = count - 2 * held_out
    return {
        "train": range(trained),
        "validation": range(trained, trained + held_out),
        "test": range(trained + held_out, count),
    }


def holds_out_photos(count: int) -> bool:
    """Whether `count` photos are enough for held-out people to have their own."""
    return len(photo_pools(count)["test"]) > 0


def draw_person(corpus_seed: int, number: int, photos: Sequence[Source]) -> Person:
    """Person `number` of the corpus with this seed and these photos.

    With fewer than three photos none can be held out, so that every person is one to train on.
    """
    pools = photo_pools(len(photos))
    split = split_of(number)
    split = split if pools[split] else "train"
    seed = mix_seed(corpus_seed, number)
    rng = np.random.default_rng(mix_seed(seed, 0))
    pool = [*pools[split]]
    order = [pool[place] for place in rng.permutation(len(pool))]
    body = next((place for place in order if _has_body(photos[place])), order[0])
    count = int(rng.integers(2, MOST_PHOTOS + 1))
    chosen = (body, *[place for place in order if place != body][: count - 1])
    name = f"demo-{number:04d}" if split == "train" else f"demo-{split}-{number:04d}"
    return Person(name, number, split, seed, tuple(photo_name(photos[place]) for place in chosen), chosen)


def _has_body(source: Source) -> bool:
    return isinstance(source, Path) or source.has_body


def photo_name(source: Source) -> str:
    """A bundled photo's name, or a picture's path."""
    return str(source) if isinstance(source, Path) else source.name


@lru_cache(maxsize=16)
def _load(source: Source) -> Portrait:
    return load_portrait(source) if isinstance(source, Path) else load_bundled(source)


def build_person(person: Person, photos: Sequence[Source]) -> FaceRig:
    """The person's head, ready to render. Imports mediapipe and scipy.

    Raises:
        ValueError: a photo is not a readable picture, or shows no face or several; names the file.
    """
    portraits = [_load(photos[place]) for place in person.sources]
    return build_rig(build_head(portraits, draw_look(person.part_seed(0), len(portraits))))


def write_people(
    folder: Path, settings: dict[str, Any], people: Sequence[Person], portraits: Sequence[Path]
) -> None:
    """Write the table of people, from which `load_person` makes them again."""
    listed = [
        {"name": person.name, "number": person.number, "split": person.split, "photos": person.photos}
        for person in people
    ]
    record = settings | {"portraits": [str(path.absolute()) for path in portraits], "people": listed}
    with write_atomically(folder / PEOPLE_FILE) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def load_person(folder: Path, name: str) -> FaceRig:
    """The head of a person of the corpus in `folder`, as its videos show it.

    Raises:
        FileNotFoundError: the folder holds no corpus.
        ValueError: the corpus has no such person, or a photo cannot be read.
    """
    record = json.loads((folder / PEOPLE_FILE).read_text("utf-8"))
    numbers = {person["name"]: person["number"] for person in record["people"]}
    if name not in numbers:
        raise ValueError(f"no person {name!r} in {folder / PEOPLE_FILE}")
    photos: Sequence[Source] = [Path(path) for path in record["portraits"]] or BUNDLED
    return build_person(draw_person(record["seed"], numbers[name], photos), photos)
