"""The card of a data set: contents, processing, statistics, and how to load it."""

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
COPIES_SHOWN: Final = 20

# A test runs both snippets in the folder of a card.
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
## Contents

Clips of talking people for training PD-FGC: up to 64 frames at 25 fps of one person in one shot, cropped
and aligned to 224 x 224, with 16 kHz sound, 478 landmarks, head pose, gaze and blink for every frame, mel
features and verified eye anchors (a face with the eye region of another frame or person).

## Processing

Made from videos of talking people, batch by batch: faces are tracked (`face_tracks`), clips selected by
thresholds (`clips`), labelled (`pose_labels`, `gaze_labels`, `lip_sync_scores`), given eye anchors
(`eye_anchors`) and packed (`shards`). The `manifest.json` of each step records its settings, inputs, code
version and refusals by reason. All labels are measured by the labellers below, not by people, and have
their errors.
"""
_LABELLERS: Final = """\
Labellers are named with their version; those that run pretrained weights also with the first digits of the
file's sha256 (`pretrained_weights.json` beside the labels has all of it, and the licence). These digits
alone tell apart weights of the same layout. Faces are found by the bundled detector unless there is a row
`faces`. Labels of different labellers are not comparable, and training refuses a mixture unless a setting
allows it.
"""
_LOADING: Final = """\
## Loading

In this folder, with `PDFGC_ROOT` set to the root that the shards are under. A shard contains samples of
several splits; the index selects them. With stock WebDataset, and without pickles:
"""
_SPLITS: Final = """\
The split of an identity depends on its name and the seed {seed} ({validation:.1%} validation, {test:.1%}
test) and is kept as the data grows; validation and test get at least {minimum} identities each, as long as
training keeps two thirds.{named} No identity and no video is in two splits: a secondary face ("NAME face 3")
belongs to the main identity NAME of its video, with whom it shares voice and background. One thing crosses
splits: an eye anchor may have the eyes of another person of the same batch who is in another split. The
table counts these anchors, and `anchors.json` names the identity of the eyes; eyes of the face's own
identity never cross.
"""
_TERMS: Final = """\
## Terms

This card and the labels grant no rights to the videos: pictures and sound remain under the terms of the
source videos, and the people in them have rights to their likeness. Check those terms before sharing
anything in this folder, including the pictures of this card.
"""


def write_card(
    statistics: Mapping[str, Any], settings: SplitSettings, copies: Sequence[tuple[str, str, float]] = ()
) -> str:
    """The card in Markdown.

    Args:
        statistics: the content of `statistics.json`.
        settings: of the splits.
        copies: two videos, each with its identity, and the seconds of the recording that they share.
    """
    parts = [
        "# Talking-head data set",
        _summary(statistics["total"]) + f" Schema version {statistics['schema_version']}.",
        f"![Samples with their landmarks]({SAMPLES_PICTURE})",
        _HOW.rstrip(),
        "## Splits\n\n" + _splits_table(statistics["splits"]),
        _SPLITS.format(
            seed=settings.seed,
            validation=settings.validation_share,
            test=settings.test_share,
            minimum=settings.minimum_identities,
            named=_named_splits(settings),
        ).rstrip(),
        *_copies(copies, settings),
        "## Labels\n\n" + _labellers_table(statistics["labellers"]),
        _LABELLERS.rstrip(),
        "Frames of reference and signs: `preprocessing/faces/shape/frame_of_reference.py`.",
        "## Statistics\n\n" + _distributions_table(statistics["distributions"]),
        f"![Distributions of labels and scores]({DISTRIBUTIONS_PICTURE})",
        _LOADING.rstrip(),
        f"```python\n{LOAD_WITH_WEBDATASET}```",
        "Or as validated samples of this project, without `decode`:",
        f"```python\n{LOAD_WITH_SCHEMA}```",
        "For random access, `index.parquet` has the shard, offset and size in bytes of every sample.",
        _TERMS.rstrip(),
    ]
    return "\n\n".join(parts) + "\n"


def panel_of_distribution(distribution: Distribution) -> Histogram:
    """A histogram of a distribution, over the part of the range that has values."""
    quantity = distribution.quantity
    filled = np.flatnonzero(distribution.counts)
    first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, len(distribution.counts))
    width = -(-(last - first) // PANEL_BINS)  # a whole number of bins for each bar
    starts = np.arange(first, last, width)
    edges = distribution.edges[np.append(starts, min(starts[-1] + width, len(distribution.counts)))]
    counts = np.add.reduceat(distribution.counts[: starts[-1] + width], starts)
    return Histogram(quantity.title, quantity.unit, edges, counts.astype(np.float64))


def _named_splits(settings: SplitSettings) -> str:
    patterns = (("validation", settings.validation_pattern), ("test", settings.test_pattern))
    return "".join(f" Identities `{pattern}` are {split}." for split, pattern in patterns if pattern)


def _copies(copies: Sequence[tuple[str, str, float]], settings: SplitSettings) -> list[str]:
    """The section on videos of one recording; [] if there are none."""
    if not copies:
        return []
    number = "1 pair of videos holds" if len(copies) == 1 else f"{len(copies)} pairs of videos hold"
    kept = (
        "Each pair is in one split."
        if settings.join_near_duplicates
        else "They may be in two splits (`join_near_duplicates` is off)."
    )
    text = (
        f"## Copies\n\n{number} the same recording (`near_duplicates.parquet`). "
        f"{kept} Remove one of two files to have it once; name both people in `splits.one_person` "
        "(`anna = a.smith`) if they are one person."
    )
    rows = [(one, other, f"{seconds:.1f}") for one, other, seconds in copies[:COPIES_SHOWN]]
    return [text, _table(("video", "of the same recording as", "seconds"), rows)]


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
        for label, by_labeller in sorted(labellers.items())
        for labeller, count in sorted(by_labeller.items())
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
