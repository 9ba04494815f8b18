"""Train, validation and test splits, disjoint by identity and stable as the data grows."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final, Literal

from pydantic import Field, model_validator

from storage.settings import Settings

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")


class SplitSettings(Settings):
    """Names and shares of the held-out identities, and the minimum of a held-out split."""

    seed: int = Field(default=0, ge=0, description="Seed of the assignment of identities to splits")
    validation_share: float = Field(
        default=0.05, ge=0.0, le=0.9, description="Share of identities in the validation split"
    )
    test_share: float = Field(
        default=0.05, ge=0.0, le=0.9, description="Share of identities in the test split"
    )
    validation_pattern: str = Field(
        default="",
        description="Identities with such a name are validation, such as demo-validation-*",
    )
    test_pattern: str = Field(
        default="", description="Identities with such a name are test; the shares apply to the others"
    )
    join_near_duplicates: bool = Field(
        default=True,
        description="Keep the people of videos with the same recording, such as copies, in one split",
    )
    one_person: str = Field(
        default="",
        description="Names of the same person, kept in one split: `anna = a.smith; ben = ben2 = ben-vlog`",
    )
    minimum_identities: int = Field(
        default=2,
        ge=0,
        description="Minimum identities in validation and test each, while training keeps two thirds: one "
        "each from 6 identities, two each from 12",
    )

    @model_validator(mode="after")
    def _check_shares(self) -> "SplitSettings":
        merged_identities(self.one_person)
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share + test_share must be < 1, got {self.validation_share} + {self.test_share}"
            )
        return self


def merged_identities(one_person: str) -> tuple[tuple[str, ...], ...]:
    """The groups of names in the setting `one_person`.

    Raises:
        ValueError: a group has fewer than two names, or an empty one.
    """
    groups = tuple(
        tuple(name.strip() for name in group.split("=")) for group in one_person.split(";") if group.strip()
    )
    for group in groups:
        if len(group) < 2 or "" in group:
            raise ValueError(f"one_person needs two names or more joined by '=', got {' = '.join(group)!r}")
    return groups


def assign_splits(
    identities: Iterable[str],
    before: Mapping[str, Split],
    settings: SplitSettings,
    listed: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Assign every identity to a split.

    An identity for which a list gives the split, or whose name matches a pattern, is in that split. Any other
    keeps its split; that of a new one depends on a hash of its name alone, so that the order in which data
    arrive does not matter. If the shares leave a split with fewer than `minimum_identities`, the new
    identities with the lowest hashes go there, alternating between validation and test, as long as training
    keeps at least two thirds.

    Args:
        identities: all identities of the data set.
        before: splits of the previous data set.
        settings: patterns, seed, shares and minimum.
        listed: splits that lists give.
    """
    names = set(identities)
    splits = dict(before)
    for identity in names:
        if split := (listed or {}).get(identity) or named_split(identity, settings):
            splits[identity] = split
    places = {identity: _place(settings.seed, identity) for identity in names}
    new = sorted((place, identity) for identity, place in places.items() if identity not in splits)
    for place, identity in new:
        splits[identity] = _split_of(place, settings)
    held_out: tuple[tuple[Split, float], ...] = (
        ("validation", settings.validation_share),
        ("test", settings.test_share),
    )
    for minimum in range(1, settings.minimum_identities + 1):
        for split, share in held_out:
            sizes = Counter(splits.values())
            movable = [identity for _, identity in new if splits[identity] == "train"]
            too_few = share > 0 and sizes[split] < minimum
            if too_few and movable and 3 * (sizes["train"] - 1) >= 2 * len(splits):
                splits[movable[0]] = split
    return splits


def named_split(identity: str, settings: SplitSettings) -> Split | None:
    """The split that a pattern gives a name."""
    if fnmatchcase(identity, settings.validation_pattern):
        return "validation"
    return "test" if fnmatchcase(identity, settings.test_pattern) else None


def _place(seed: int, identity: str) -> float:
    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _split_of(place: float, settings: SplitSettings) -> Split:
    if place < settings.validation_share:
        return "validation"
    if place < settings.validation_share + settings.test_share:
        return "test"
    return "train"
