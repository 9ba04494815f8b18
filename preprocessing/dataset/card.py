"""The data set's card: what it is, how it was made, its figures, and how to load it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from preprocessing.dataset.splits import SPLITS, SplitSettings
from preprocessing.dataset.statistics import PERCENTILES, Distribution
from preprocessing.pictures.histograms import Histogram

PICTURES: Final = "pictures"
SAMPLES_PICTURE: Final = f"{PICTURES}/samples.jpg"
DISTRIBUTIONS_PICTURE: Final = f"{PICTURES}/distributions.png"
PANEL_BINS: Final = 50

# Run by a test as they stand here, in the folder of the card.
LOAD_WITH_WEBDATASET: Final = """\
import os, pyarrow.parquet as pq, webdataset as wds
index = pq.read_table("index.parquet", filters=[("split", "==", "train")])
keys, shards = set(index["key"].to_pylist()), sorted(set(index["shard"].to_pylist()))
paths = [os.path.join(os.environ["PDFGC_ROOT"], shard) for shard in shards]
samples = wds.WebDataset(paths, shardshuffle=False).select(lambda sample: sample["__key__"] in keys)
for sample in samples.decode("rgb8"):
    print(sample["__key__"], sample["meta.json"]["scores"], sample["000.jpg"].shape, sample["pose.npy"].shape)
"""
LOAD_WITH_SCHEMA: Final = """\
from preprocessing.shards import decode_sample
for sample in samples:
    members = {name: data for name, data in sample.items() if not name.startswith("__")}
    clip_sample = decode_sample(sample["__key__"], members)  # preprocessing.schema.ClipSample, checked
"""

_HOW: Final = """\
## What it is

Clips of talking people for training PD-FGC: up to 64 frames each at 25 fps, one person, one shot,
cropped and aligned to 224 x 224, with 16 kHz sound in step, 478 landmarks, head pose, gaze and blink
of every frame, mel features and verified eye anchors (the eye region of another moment or person in a face).

## How it was made

From videos of talking people, batch by batch: faces tracked (`face_tracks`), clips chosen by
thresholds (`clips`), labelled (`pose_labels`, `gaze_labels`, `lip_sync_scores`), given eye anchors
(`eye_anchors`) and packed (`shards`). Each step's `manifest.json` names its settings, inputs, code
version and what it refused for which reason. Labels are measured by the labellers named below, not by
people; they carry those labellers' errors.
"""
_WHO: Final = """\
A labeller is told by name and version; one that runs an outside network also by the first digits of its
file's sha256 (`pretrained_weights.json` beside the labels has all of it, and the licence). The digits alone
tell trained weights from any others of the same layout. Faces are found by the built-in detector unless
`faces` stands here. Different labellers of one label are not comparable: training refuses such a
label unless it is told to take it.
"""
_LOADING: Final = """\
## How to load it

In this folder, with `PDFGC_ROOT` naming the root that the shards lie under. A shard holds samples of
several splits, so the index says which to take. With the stock library; there are no pickles:
"""
_RULE: Final = """\
An identity's split follows from its name and the seed {seed} ({validation:.1%} validation, {test:.1%}
test) and is kept while the data grows; each of the two gets at least {minimum} as far as training keeps
two thirds of the identities.
No identity and no video is in two splits: a face beside the main one ("NAME face 3") goes with the
video's main identity NAME, whose voice and background it shares. One thing does cross: an eye anchor
may carry the eyes of someone else of the same batch, who may be of another split. The table counts
those; `anchors.json` names the identity of each, and eyes of the face's own identity never cross.
"""
_TERMS: Final = """\
## Terms

This card and the labels grant nothing on the videos: pictures and sound remain under the terms of the
videos that they were cut from, and people who are seen have rights in their likeness. Look those terms
up before you share anything of this folder, this card's pictures included.
"""


def write_card(statistics: Mapping[str, Any], settings: SplitSettings) -> str:
    """The card's text in Markdown.

    Args:
        statistics: what `statistics.json` holds.
        settings: of the splits.
    """
    parts = [
        "# Data set of talking heads",
        _summary(statistics["total"]) + f" Schema version {statistics['schema_version']}.",
        f"![Some samples with their landmarks]({SAMPLES_PICTURE})",
        _HOW.rstrip(),
        "## Splits\n\n" + _splits_table(statistics["splits"]),
        _RULE.format(
            seed=settings.seed,
            validation=settings.validation_share,
            test=settings.test_share,
            minimum=settings.minimum_identities,
        ).rstrip(),
        "## Labels\n\n" + _labellers_table(statistics["labellers"]),
        _WHO.rstrip(),
        "Frames of reference and signs: `preprocessing/faces/frame_of_reference.py`.",
        "## Figures\n\n" + _distributions_table(statistics["distributions"]),
        f"![Distributions of labels and scores]({DISTRIBUTIONS_PICTURE})",
        _LOADING.rstrip(),
        f"```python\n{LOAD_WITH_WEBDATASET}```",
        "Or as this project's own checked samples, without `decode`:",
        f"```python\n{LOAD_WITH_SCHEMA}```",
        "One sample alone: `index.parquet` tells its shard, offset and size in bytes.",
        _TERMS.rstrip(),
    ]
    return "\n\n".join(parts) + "\n"


def panel_of_distribution(distribution: Distribution) -> Histogram:
    """A histogram of what was counted, over the part of the range that holds values."""
    quantity = distribution.quantity
    filled = np.flatnonzero(distribution.counts)
    first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, len(distribution.counts))
    width = -(
        -(last - first) // PANEL_BINS
    )  # whole narrow bins to a bar, so that no bar lies about its share
    starts = np.arange(first, last, width)
    edges = distribution.edges[np.append(starts, min(starts[-1] + width, len(distribution.counts)))]
    counts = np.add.reduceat(distribution.counts[: starts[-1] + width], starts)
    return Histogram(quantity.title, quantity.unit, edges, counts.astype(np.float64))


def _splits_table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            split,
            f"{splits[split]['samples']:,}",
            f"{splits[split]['hours']:.2f}",
            f"{splits[split]['identities']:,}",
            f"{splits[split]['videos']:,}",
            f"{splits[split]['anchors']:,}",
            f"{splits[split]['anchors_across_splits']:,}",
        )
        for split in SPLITS
    ]
    return _table(
        ("split", "samples", "hours", "identities", "videos", "eye anchors", "eyes of another split"), rows
    )


def _summary(total: Mapping[str, Any]) -> str:
    return (
        f"{total['samples']:,} samples, {total['hours']:.2f} hours, {total['identities']:,} identities, "
        f"{total['anchors']:,} eye anchors; batches: {total['batches']:,}, shards: {total['shards']:,}, "
        f"{total['bytes'] / 2**30:.2f} GiB."
    )


def _labellers_table(labellers: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        (label, labeller, f"{count:,}")
        for label, found in sorted(labellers.items())
        for labeller, count in sorted(found.items())
    ]
    return _table(("label", "labeller", "samples"), rows)


def _distributions_table(distributions: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, facts in distributions.items():
        if facts["values"]:
            percentiles = [f"{facts['percentiles'][str(percentile)]:.2f}" for percentile in PERCENTILES]
            rows.append((name, facts["unit"], f"{facts['values']:,}", f"{facts['mean']:.2f}", *percentiles))
    head = ("quantity", "unit", "values", "mean", *(f"{percentile} %" for percentile in PERCENTILES))
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)
