"""Published evaluations with fixed records and videos of flat colours."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from upath import UPath

from evaluation.controls import CONTROLS, Control
from evaluation.generation.files import (
    FACTS_NAME,
    GENERATED_VIDEOS,
    PLAN_NAME,
    ClipFacts,
    VideoFacts,
    clip_path,
    portrait_path,
    video_path,
)
from evaluation.generation.reenactment import Reenactment, ReenactmentPlan, write_plan
from evaluation.metrics.control.matrix import FOLLOW
from evaluation.readings.face import MEASURES
from evaluation.records import (
    COPY_PORTRAIT,
    COPY_TARGET,
    GROUND_TRUTH,
    MODEL,
    RECORDS_TABLE,
    Direction,
    MetricRecord,
    write_records,
)
from evaluation.report.matrix import MATRIX_TABLE, MatrixCell
from evaluation.report.sources import CONTROL_ASSET, LIP_SYNC_ASSET, QUALITY_ASSET
from preprocessing.media.encoding import write_video
from storage.manifest import Input
from storage.publishing import BuildReport, Published, Recipe, materialise

FRAMES = 10
CLIPS = ("anna", "bela", "cleo", "dora", "emil")
HOSTILE = '<script>alert("x")</script>'


def metric_records(
    metric: str,
    values: Mapping[str, Sequence[float | None]],
    *,
    task: str = "self",
    scorer: str = "mediapipe_mesh",
    unit: str = "",
    direction: Direction = "lower",
    because: str = "no face",
) -> list[MetricRecord]:
    """Records of one metric: a value for each video by method; None is missing with the reason `because`."""
    return [
        MetricRecord(
            metric,
            task,
            method,
            scorer,
            f"{task}-{place:02d}",
            value,
            unit,
            direction,
            because if value is None else "",
        )
        for method, series in values.items()
        for place, value in enumerate(series)
    ]


def control_records() -> list[MetricRecord]:
    """The model beats the copied portrait significantly on yaw, and does not on gaze."""
    return [
        *metric_records(
            "pose_error_yaw",
            {
                MODEL: [1.0, 2.0, 1.5],
                GROUND_TRUTH: [0.2, 0.1, 0.3],
                COPY_PORTRAIT: [8.0, 9.1, 8.4],
                COPY_TARGET: [0.2, 0.1, 0.3],
            },
            unit="°",
        ),
        *metric_records(
            "gaze_error",
            {MODEL: [6.0, 7.0, 6.5], COPY_PORTRAIT: [4.0, 5.1, 4.4], COPY_TARGET: [1.0, 1.1, 0.9]},
            task="cross",
            unit="°",
        ),
    ]


def lip_sync_records() -> list[MetricRecord]:
    """Two scorers, one of them without weights."""
    return [
        *metric_records(
            "lse_c",
            {MODEL: [2.0, 2.2], GROUND_TRUTH: [5.0, 5.5], COPY_PORTRAIT: [0.4, 0.6], COPY_TARGET: [5.0, 5.5]},
            scorer="lip_encoders:default:0123abcd",
            direction="higher",
        ),
        *metric_records(
            "lse_c",
            {MODEL: [None, None], GROUND_TRUTH: [None, None]},
            scorer="syncnet_v2",
            direction="higher",
            because="no syncnet_v2.model was given",
        ),
    ]


def quality_records() -> list[MetricRecord]:
    """A measured metric, and one whose reason contains markup."""
    return [
        *metric_records(
            "psnr",
            {MODEL: [18.0, 18.4], COPY_PORTRAIT: [18.5, 18.1]},
            scorer="torchmetrics",
            unit="dB",
            direction="higher",
        ),
        *metric_records(
            "csim", {MODEL: [None, None]}, scorer="insightface", direction="higher", because=HOSTILE
        ),
    ]


def matrix_cells() -> list[MatrixCell]:
    """0.8 for a driver's own measures, -0.1 for others."""
    return [
        MatrixCell(method, "mediapipe_mesh", FOLLOW, driver, measure, *_cell(control == driver), False, 3)
        for method in (MODEL, COPY_PORTRAIT)
        for driver in CONTROLS
        for measure, control in MEASURES.items()
    ]


def _cell(own: bool) -> tuple[float, float]:
    return (0.8, 0.9) if own else (-0.1, -0.05)


def small_plan(dataset: str = "d" * 64) -> ReenactmentPlan:
    """A self, a cross and a control video."""
    anna: dict[Control, str] = dict.fromkeys(CONTROLS, "anna")
    reenactments = (
        Reenactment("self-00", "self", "anna", 0, anna, FRAMES),
        Reenactment("cross-00", "cross", "anna", 0, dict(zip(CONTROLS, CLIPS[1:], strict=True)), FRAMES),
        Reenactment("control-00-pose", "control", "anna", 0, {**anna, "pose": "bela"}, FRAMES, "self-00"),
    )
    return ReenactmentPlan("test-seed0", 0, "test", dataset, reenactments, ("2 of 6 cross videos",))


def publish_evaluations(
    root: UPath,
    run: str = "default",
    *,
    plan: ReenactmentPlan | None = None,
    control: Sequence[MetricRecord] | None = None,
    measured: str | None = None,
    with_videos: bool = True,
) -> None:
    """Publish videos of flat colours and evaluations of a run.

    Args:
        plan: `small_plan()` if None.
        control: records of `control_evaluation`; `control_records()` if None.
        measured: content digest of the videos that the evaluations name as their input; the actual one if
            None.
        with_videos: False publishes the plan without video files.
    """
    written_plan = plan or small_plan()
    inputs = {"dataset": Input("d" * 64), "stage3_expression": Input(f"{run:a<64}")}

    def fill_videos(folder: Path) -> None:
        _facts(folder, written_plan)
        if with_videos:
            _videos(folder, written_plan)

    videos = publish_files(root, GENERATED_VIDEOS, run, inputs, fill_videos)
    from_videos = {GENERATED_VIDEOS: videos.as_input(measured)}
    for asset, records in (
        (CONTROL_ASSET, control_records() if control is None else control),
        (LIP_SYNC_ASSET, lip_sync_records()),
        (QUALITY_ASSET, quality_records()),
    ):
        publish_files(
            root, asset, run, from_videos, lambda folder, records=records: _write_tables(folder, records)
        )


def publish_files(
    root: UPath, asset: str, run: str, inputs: Mapping[str, Input], fill: Callable[[Path], None]
) -> Published:
    """Publish an asset whose files `fill` writes; always builds, since they are not part of the recipe."""

    def build(folder: Path) -> BuildReport:
        fill(folder)
        return BuildReport(counts={}, refusals={})

    return materialise(root, Recipe(asset, run, "1", {}, inputs), build, force=True)


def _write_tables(folder: Path, records: Sequence[MetricRecord]) -> None:
    write_records(folder / RECORDS_TABLE, records)
    pq.write_table(pa.Table.from_pylist([asdict(cell) for cell in matrix_cells()]), folder / MATRIX_TABLE)


def _facts(folder: Path, plan: ReenactmentPlan) -> None:
    clips = {key: ClipFacts(key, key, f"{key}.mp4", 0, FRAMES) for key in CLIPS}
    VideoFacts("run 'default'", 64, clips).write(folder / FACTS_NAME)
    write_plan(folder / PLAN_NAME, plan)


def _videos(folder: Path, plan: ReenactmentPlan) -> None:
    for name in ("videos", "clips", "portraits"):
        (folder / name).mkdir()
    for place, key in enumerate(CLIPS):
        _video(clip_path(folder, key), 40 * place + 40, 224)
    for place, reenactment in enumerate(plan.reenactments):
        _video(video_path(folder, reenactment.name), 60 * place + 30, 64)
        portrait = np.full((224, 224, 3), 200, np.uint8)
        Image.fromarray(portrait).save(portrait_path(folder, reenactment.name))


def _video(path: Path, grey: int, side_px: int) -> None:
    """A video of one grey level with a tone."""
    frames = (np.full((side_px, side_px, 3), grey, np.uint8) for _ in range(FRAMES))
    time = np.arange(FRAMES * 640) / 16_000
    write_video(path, frames, 25, (0.3 * np.sin(2 * np.pi * 220 * time)).astype(np.float32))
