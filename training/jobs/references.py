"""What trained stages refer to, for who collects what nothing refers to."""

from collections.abc import Mapping
from typing import Final

from storage.gc.survey import Build, Survey
from training.engine.weights_digest import manifest_weights_digest
from training.stage_catalog import STAGE_NAMES

DATASET: Final = "dataset"


def read_by_stage(survey: Survey, _: str, inputs: Mapping[str, str]) -> list[Build]:
    """The data set and the parents' weights that a stage was, or is being, trained from.

    With them a run can be resumed, compared and evaluated.
    """
    found: list[Build] = []
    for name, digest in inputs.items():
        if name in STAGE_NAMES:
            found += with_weights(survey, name, digest)
        elif name == DATASET:
            found += survey.with_content(DATASET, digest)
    return found


def with_weights(survey: Survey, stage: str, digest: str) -> list[Build]:
    """The builds of a stage, of whatever run, whose weights have this digest."""
    manifests = [(build, survey.manifest(build)) for build in survey.of_asset(stage)]
    return [build for build, one in manifests if one is not None and manifest_weights_digest(one) == digest]
