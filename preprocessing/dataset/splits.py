"""Train, validation and test, disjoint by identity and stable while the data grows."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from storage.settings import setting

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitSettings:
    """Shares of the identities, and how few a held-out split may have."""

    seed: int = setting(0, "Of the deal of identities into splits", minimum=0)
    validation_share: float = setting(0.05, "Of the identities", minimum=0.0, maximum=0.9)
    test_share: float = setting(0.05, "Of the identities", minimum=0.0, maximum=0.9)
    minimum_identities: int = field(
        default=2,
        metadata={
            "description": "Identities that validation and test each have at least, as far as training keeps "
            "two thirds: one each from 6 identities on, two each from 12",
            "minimum": 0,
        },
    )

    def __post_init__(self) -> None:
        if self.minimum_identities < 0:
            raise ValueError(f"minimum_identities is {self.minimum_identities}, need at least 0")
        if self.validation_share < 0 or self.test_share < 0 or self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} and test_share {self.test_share} must each be "
                "at least 0 and together below 1"
            )


def assign_splits(
    identities: Iterable[str], before: Mapping[str, Split], settings: SplitSettings
) -> dict[str, Split]:
    """Give every identity its split.

    An identity keeps the split that it had. A new one gets its split from a hash of its name alone, so
    two people who collect the same data in another order agree. Where the shares of a small corpus
    would leave a split with fewer than `minimum_identities`, the new identities with the lowest hashes go
    there, to validation and test by turns, as long as training keeps at least two thirds.

    Args:
        identities: all identities of the data set.
        before: splits that were given earlier.
        settings: seed, shares and the least number.
    """
    splits = dict(before)
    places = {identity: _place(settings.seed, identity) for identity in set(identities)}
    new = sorted((place, identity) for identity, place in places.items() if identity not in before)
    for place, identity in new:
        splits[identity] = _split_of(place, settings)
    wanted: tuple[tuple[Split, float], ...] = (
        ("validation", settings.validation_share),
        ("test", settings.test_share),
    )
    for least in range(1, settings.minimum_identities + 1):
        for split, share in wanted:
            sizes = Counter(splits.values())
            movable = [identity for _, identity in new if splits[identity] == "train"]
            too_few = share > 0 and sizes[split] < least
            if too_few and movable and 3 * (sizes["train"] - 1) >= 2 * len(splits):
                splits[movable[0]] = split
    return splits


def _place(seed: int, identity: str) -> float:
    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _split_of(place: float, settings: SplitSettings) -> Split:
    if place < settings.validation_share:
        return "validation"
    if place < settings.validation_share + settings.test_share:
        return "test"
    return "train"
