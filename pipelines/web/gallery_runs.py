"""Training runs below a root, for the gallery: stages, sample grids by step, videos, reports."""

import re
from typing import Any, Final

from upath import UPath

from evaluation.comparison.run_list import as_json_object, list_runs
from evaluation.film.film import FILM_FOLDER, FILM_NAME
from pipelines.web.locations import file_url, tensorboard_link
from storage.publishing import Published, current, published_partitions
from training.stage_catalog import STAGE_NAMES

SAMPLE: Final = re.compile(r"samples/step-(\d+)\.jpg")
FILM: Final = f"{FILM_FOLDER}/{FILM_NAME}"
EVALUATIONS: Final = ("generated_videos", "lip_sync_evaluation", "control_evaluation", "quality_evaluation")
REPORT: Final = ("evaluation_report", "report.html")


def runs_below(root: UPath) -> list[dict[str, Any]]:
    """Every run that has trained a stage, the latest first, as JSON values."""
    stages = {stage: published_partitions(root, stage) for stage in STAGE_NAMES}
    listed = as_json_object(list_runs(root))
    return [
        _run(root, run["run"], [stage for stage in STAGE_NAMES if run["run"] in stages[stage]])
        | {name: run[name] for name in ("preset", "figures", "is_baseline")}
        for run in listed
    ]


def _run(root: UPath, name: str, stages: list[str]) -> dict[str, Any]:
    trained = [build for stage in stages if (build := current(root, stage, name)) is not None]
    rows = [_stage(build) for build in trained]
    report = current(root, REPORT[0], name)
    return {
        "run": name,
        "finished_at": max((row["finished_at"] for row in rows), default=""),
        "stages": rows,
        "tensorboard": str(tensorboard_link(name).value),
        "report": None if report is None else file_url(f"{report.location}/{REPORT[1]}"),
        "videos": _videos(current(root, EVALUATIONS[0], name)),
        "builds": {
            asset: file_url(f"{build.location}/")
            for asset in EVALUATIONS
            if (build := current(root, asset, name)) is not None
        },
    }


def _stage(build: Published) -> dict[str, Any]:
    manifest = build.manifest
    samples = sorted(
        (int(match[1]), name) for name in manifest.files if (match := SAMPLE.fullmatch(name)) is not None
    )
    return {
        "stage": manifest.asset,
        "steps": manifest.counts.get("steps"),
        "images_per_second": manifest.counts.get("images_per_second"),
        "seconds": manifest.seconds,
        "finished_at": manifest.finished_at,
        "folder": file_url(f"{build.location}/"),
        "film": file_url(f"{build.location}/{FILM}") if FILM in manifest.files else None,
        "samples": [{"step": step, "url": file_url(f"{build.location}/{name}")} for step, name in samples],
    }


def _videos(build: Published | None) -> list[str]:
    if build is None:
        return []
    names = sorted(name for name in build.manifest.files if re.fullmatch(r"videos/[^/]+\.mp4", name))
    return [file_url(f"{build.location}/{name}") for name in names]
