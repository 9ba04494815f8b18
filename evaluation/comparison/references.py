"""What evaluations and baseline runs refer to, and with the rooms below: who refers to whom under a root."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from upath import UPath

from evaluation.comparison.baseline_runs import (
    BASELINE_NAME,
    BASELINES_FOLDER,
    BaselineRun,
    list_baseline_runs,
)
from evaluation.generation.files import GENERATED_VIDEOS
from evaluation.report.sources import EVALUATIONS
from evaluation.report.summary import EVALUATION_REPORT
from preprocessing.orchestration.references import batches_without_videos, read_by_step, shards_of_dataset
from preprocessing.orchestration.steps import STEPS
from storage.gc.findings import References
from storage.gc.survey import ASSETS, Build, Survey
from training.jobs.references import DATASET, read_by_stage, with_weights
from training.stage_catalog import RENDERING_STAGE, STAGE_NAMES

MEASURED: Final = (GENERATED_VIDEOS, *EVALUATIONS)


def find_references(
    root: UPath,
    keep_baselines: int,
    *,
    drawn: frozenset[str],
    known: frozenset[str],
    known_scratch: frozenset[str],
) -> References:
    """Who refers to whom.

    Args:
        root: from `open_root`.
        keep_baselines: of how many baseline runs, the last ones, everything is kept; 1 or more.
        drawn: directories of pictures that are drawn again where they are missing.
        known: names right below the root that belong to others.
        known_scratch: the same of the scratch directory.

    Raises:
        ValueError: none is to be kept.
    """
    if keep_baselines < 1:
        raise ValueError(f"keep_baselines is {keep_baselines}, need 1 or more")
    published = {DATASET: shards_of_dataset, **dict.fromkeys(STAGE_NAMES, read_by_stage)}
    evaluations = dict.fromkeys((*MEASURED, EVALUATION_REPORT), read_by_evaluation)
    return References(
        published=published,
        building={**dict.fromkeys(STEPS, read_by_step), **published, **evaluations},
        roots=partial(_baseline_builds, root, keep_baselines),
        root_assets=frozenset(evaluations),
        records={BASELINES_FOLDER: BASELINE_NAME},
        drawn=drawn,
        known=known,
        known_scratch=known_scratch,
        remarks=partial(batches_without_videos, root),
    )


def read_by_evaluation(survey: Survey, partition: str, inputs: Mapping[str, str]) -> list[Build]:
    """Videos, evaluations, weights and data set that an evaluation was, or is being, made from."""
    found = read_by_stage(survey, partition, inputs)
    for name, digest in inputs.items():
        if name in MEASURED:
            found += survey.with_content(name, digest, partition)
    return found


def _baseline_builds(root: UPath, keep_baselines: int, survey: Survey) -> dict[Build, str]:
    """Report, evaluations, videos and weights of the runs that are the last baseline runs."""
    kept: dict[Build, str] = {}
    for baseline in list_baseline_runs(root)[-keep_baselines:]:
        why = f"of run {baseline.run!r}, baseline run of {baseline.set_at[:10]}"
        queue = _first_builds(survey, baseline)
        while queue:
            build = queue.pop()
            if build in kept:
                continue
            kept[build] = why
            manifest = survey.manifest(build)
            if manifest is not None and build.asset in (EVALUATION_REPORT, *MEASURED):
                queue += read_by_evaluation(survey, build.partition, manifest.inputs)
    return kept


def _first_builds(survey: Survey, baseline: BaselineRun) -> list[Build]:
    """The report, as far as it is there, and the weights."""
    location = baseline.report.split("/")
    builds = with_weights(survey, RENDERING_STAGE, baseline.weights)
    if len(location) == 4 and location[0] == ASSETS:
        report = Build(*location[1:])
        builds += [report] if report in survey.of_partition(report.asset, report.partition) else []
    return builds
