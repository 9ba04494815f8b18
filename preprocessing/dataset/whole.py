"""Running the step `dataset`: it joins the shards of every batch that has any."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from upath import UPath

from preprocessing.dataset.joining import CODE_VERSION, DatasetSettings, ShardSet, make_dataset, read_splits
from preprocessing.sources.stored_catalog import batch_keys
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from storage.root import local_copy

DATASET: Final = "dataset"
WHOLE: Final = "whole"  # the partition of what is made of all batches


def run_dataset(
    root: UPath,
    settings: DatasetSettings,
    *,
    force: bool = False,
    progress: Callable[[str], None] = print,
) -> Published:
    """Make sure that the data set over all batches is there and current.

    Batches whose shards are not made yet are left out, and said so. The splits that identities had in
    the data set before are kept; they are not part of the recipe, for the same shards give the same
    splits.

    Raises:
        ValueError: no batch has shards.
    """
    keys = batch_keys(root)
    made = {key: published for key in keys if (published := current(root, "shards", key)) is not None}
    if not made:
        raise ValueError(f"no batch under {root} has shards yet: materialise `shards` of a batch first")
    for key in sorted(set(keys) - set(made)):
        progress(f"batch {key} has no shards yet and is left out")
    before = current(root, DATASET, WHOLE)
    splits_before = read_splits(local_copy(before.directory)) if before is not None else {}
    recipe = Recipe(
        DATASET,
        WHOLE,
        CODE_VERSION,
        settings,
        {key: published.manifest.content_digest for key, published in made.items()},
    )

    def build(folder: Path) -> BuildReport:
        shards = {key: _shard_set(root, published) for key, published in made.items()}
        return make_dataset(shards, splits_before, settings, folder)

    return materialise(root, recipe, build, force=force)


def _shard_set(root: UPath, published: Published) -> ShardSet:
    location = published.directory.path.removeprefix(root.path).strip("/")
    digests = {name: record.sha256 for name, record in published.manifest.files.items()}
    return ShardSet(local_copy(published.directory), location, digests)
