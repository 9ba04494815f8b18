"""Distributions of labels and scores over the samples of all shards, in bounded memory.

Only the labels and `meta.json` of each sample are read, at its place in the index; no picture or sound is
decoded. Distributions are counts in narrow bins, so memory does not depend on the number of clips.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.archive import Place
from preprocessing.shards import decode_array
from storage.tar_header import TAR_BLOCK_BYTES, next_header, parse_tar_header

LABEL_MEMBERS: Final = frozenset({"meta.json", "anchors.json", "pose.npy", "gaze.npy", "blink.npy"})
PERCENTILES: Final = (1, 5, 25, 50, 75, 95, 99)
BINS: Final = 2000  # resolution of percentiles: 1/2000 of the range


@dataclass(frozen=True)
class Quantity:
    """A quantity with its range; values outside count in the outermost bins."""

    name: str
    title: str
    unit: str
    low: float
    high: float


QUANTITIES: Final = (
    Quantity("pitch", "Head pitch (+ looks down)", "degrees", -90.0, 90.0),
    Quantity("yaw", "Head yaw (+ looks to the image's right)", "degrees", -90.0, 90.0),
    Quantity("roll", "Head roll (+ counter-clockwise)", "degrees", -90.0, 90.0),
    Quantity("gaze_pitch", "Gaze pitch in the head (+ looks down)", "degrees", -60.0, 60.0),
    Quantity("gaze_yaw", "Gaze yaw in the head (+ image's right)", "degrees", -60.0, 60.0),
    Quantity("blink", "Blink, both eyes", "0 open, 1 shut", 0.0, 1.0),
    Quantity("face_size", "Face size in the source", "px", 0.0, 2000.0),
    Quantity("lip_sync_offset", "Lip-sync offset (+ the sound comes late)", "frames", -20.0, 20.0),
    Quantity("lip_sync_confidence", "Lip-sync confidence", "the scorer's own", 0.0, 20.0),
)


@dataclass(frozen=True)
class SampleLabels:
    """A sample's labels and metadata."""

    schema_version: int
    labellers: Mapping[str, str]
    lip_sync: Mapping[str, float]
    scores: Mapping[str, float]
    eyes: tuple[tuple[str, str], ...]  # (identity, clip key) of every anchor's eyes
    pose: NDArray[np.float32] = field(repr=False)  # [T, 6]
    gaze: NDArray[np.float32] = field(repr=False)  # [T, 2]
    blink: NDArray[np.float32] = field(repr=False)  # [T, 2]


def read_labels_at(shard: IO[bytes], place: Place, key: str) -> SampleLabels:
    """Read the labels of the sample at `place` of an open shard.

    Raises:
        ValueError: the sample of that key does not start there, or has no such label.
    """
    members = _read_members(shard, place, key)
    meta, anchors = json.loads(members["meta.json"]), json.loads(members["anchors.json"])
    return SampleLabels(
        schema_version=meta["schema_version"],
        labellers=meta["labellers"],
        lip_sync=meta["lip_sync"],
        scores=meta["scores"],
        eyes=tuple((anchor["eyes_identity"], anchor["eyes_key"]) for anchor in anchors),
        pose=decode_array(key, members, "pose.npy"),
        gaze=decode_array(key, members, "gaze.npy"),
        blink=decode_array(key, members, "blink.npy"),
    )


def _read_members(shard: IO[bytes], place: Place, key: str) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    offset, end = place.offset_bytes, place.offset_bytes + place.size_bytes
    while offset < end and len(members) < len(LABEL_MEMBERS):
        shard.seek(offset)
        try:
            name, size = parse_tar_header(shard.read(TAR_BLOCK_BYTES))
        except ValueError as error:
            raise ValueError(f"{key}: no tar member at byte {offset} ({error})") from error
        owner, _, extension = name.partition(".")
        if owner != key or size > end - offset:
            break
        if extension in LABEL_MEMBERS:
            members[extension] = shard.read(size)
        offset = next_header(offset + TAR_BLOCK_BYTES, size)
    if missing := sorted(LABEL_MEMBERS - members.keys()):
        raise ValueError(
            f"{key}: its sample at byte {place.offset_bytes} lacks {missing}; build the shards again"
        )
    return members


class Distribution:
    """Counts in narrow bins over a quantity's range; minimum, maximum and mean are exact."""

    def __init__(self, quantity: Quantity) -> None:
        self.quantity = quantity
        self.edges: NDArray[np.float64] = np.linspace(quantity.low, quantity.high, BINS + 1)
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.sum = 0.0
        self.smallest, self.largest = np.inf, -np.inf

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Add values of any shape."""
        low, high = self.quantity.low, self.quantity.high
        places = ((np.asarray(values, np.float64).ravel() - low) * (BINS / (high - low))).astype(np.int64)
        self.counts += np.bincount(places.clip(0, BINS - 1), minlength=BINS)
        self.sum += float(np.sum(values, dtype=np.float64))
        self.smallest = min(self.smallest, float(np.min(values)))
        self.largest = max(self.largest, float(np.max(values)))

    def add_counts(
        self,
        bins: NDArray[np.int32],
        counts: NDArray[np.int64],
        sums: NDArray[np.float64],
        smallest: float,
        largest: float,
    ) -> None:
        """Add what other distributions of this quantity counted."""
        np.add.at(self.counts, bins, counts)
        self.sum += math.fsum(sums)
        self.smallest = min(self.smallest, smallest)
        self.largest = max(self.largest, largest)

    def to_json(self) -> dict[str, Any]:
        """Number of values, mean, minimum, maximum and percentiles; the last four are null without values."""
        total = int(self.counts.sum())
        facts: dict[str, Any] = {"unit": self.quantity.unit, "values": total}
        if not total:
            return facts | {"mean": None, "minimum": None, "maximum": None, "percentiles": None}
        cumulative = np.concatenate([[0], np.cumsum(self.counts)])
        wanted = np.array(PERCENTILES) / 100 * total
        values = np.interp(wanted, cumulative, self.edges).clip(self.smallest, self.largest)
        return facts | {
            "mean": round(self.sum / total, 4),
            "minimum": round(self.smallest, 4),
            "maximum": round(self.largest, 4),
            "percentiles": {
                str(name): round(float(value), 4) for name, value in zip(PERCENTILES, values, strict=True)
            },
        }


class LabelStatistics:
    """Distributions over all samples; lip sync scores have one for each scorer."""

    def __init__(self) -> None:
        self.distributions: dict[str, Distribution] = {
            quantity.name: Distribution(quantity)
            for quantity in QUANTITIES
            if not quantity.name.startswith("lip_sync")
        }

    def add(self, labels: SampleLabels) -> None:
        """Add one sample."""
        for number, name in enumerate(("pitch", "yaw", "roll")):
            self.distributions[name].add(np.degrees(labels.pose[:, number]))
        for number, name in enumerate(("gaze_pitch", "gaze_yaw")):
            self.distributions[name].add(np.degrees(labels.gaze[:, number]))
        self.distributions["blink"].add(labels.blink)
        if "face_size_px" in labels.scores:
            self.distributions["face_size"].add(np.array(labels.scores["face_size_px"]))
        for score, name in (("offset_frames", "lip_sync_offset"), ("confidence", "lip_sync_confidence")):
            if score in labels.lip_sync:
                scorer = labels.labellers["lip_sync"]
                self.distribution(f"{name} by {scorer}").add(np.array(labels.lip_sync[score]))

    def to_json(self) -> dict[str, Any]:
        """The distributions by the quantity's name."""
        return {name: distribution.to_json() for name, distribution in self.distributions.items()}

    def distribution(self, name: str) -> Distribution:
        """The distribution of a quantity; of one "by SCORER" a new one, if there is none yet."""
        if name not in self.distributions:
            base, _, scorer = name.partition(" by ")
            quantity = next(quantity for quantity in QUANTITIES if quantity.name == base)
            unit = f"{quantity.unit}, by {scorer}"
            self.distributions[name] = Distribution(replace(quantity, name=name, unit=unit))
        return self.distributions[name]
