"""What the data set and the batch steps refer to, for who collects what nothing refers to."""

from collections.abc import Mapping
from typing import Final

from upath import UPath

from preprocessing.clips.store import CLIPS_TAR
from preprocessing.orchestration.steps import STEPS
from preprocessing.sources.stored_catalog import batch_keys
from storage.gc.survey import Build, Survey

SHARDS: Final = "shards"
CLIPS: Final = "clips"
MOST_NAMED: Final = 4


def shards_of_dataset(survey: Survey, _: str, inputs: Mapping[str, str]) -> list[Build]:
    """The shards that a data set's index points to: its inputs are content digests by batch."""
    return [build for batch, digest in inputs.items() for build in survey.with_content(SHARDS, digest, batch)]


def read_by_step(survey: Survey, batch: str, inputs: Mapping[str, str]) -> list[Build]:
    """What a step of a batch reads while it is built; once it is, it refers to nothing."""
    found: list[Build] = []
    for name, digest in inputs.items():
        if name == CLIPS:  # known to the steps below by its tar alone
            found += [one for one in survey.of_partition(CLIPS, batch) if _tar_digest(survey, one) == digest]
        elif name in STEPS:
            found += survey.with_content(name, digest, batch)
    return found


def batches_without_videos(root: UPath, survey: Survey) -> list[str]:
    """What is published of batches that the catalog does not know: it is left alone, and told."""
    known = set(batch_keys(root))
    strangers = sorted({name for (asset, name) in survey.partitions if asset in STEPS and name not in known})
    if not strangers:
        return []
    more = f" and {len(strangers) - MOST_NAMED} more" if len(strangers) > MOST_NAMED else ""
    names = ", ".join(strangers[:MOST_NAMED])
    return [f"not in the catalog: batch {names}{more}; their current files are left alone"]


def _tar_digest(survey: Survey, build: Build) -> str | None:
    manifest = survey.manifest(build)
    record = None if manifest is None else manifest.files.get(CLIPS_TAR)
    return None if record is None else record.sha256
