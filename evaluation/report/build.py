"""Builds the report of a run: one HTML page, and its records and means as Parquet.

Published files: `report.html`, `report.parquet` (every record, as `evaluation.records` writes them) and
`summary.parquet` (means, and which baselines are ahead of the model).
"""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import Field
from upath import UPath

from evaluation.generation.files import GENERATED_VIDEOS
from evaluation.records import MODEL, write_records
from evaluation.report.first_screen import build_first_screen
from evaluation.report.matrix import build_matrices, is_matrix_cell
from evaluation.report.page import Fact, Overview, ReportPage, ReportSection, UnmeasuredGroup, render
from evaluation.report.results import Results, derive_results
from evaluation.report.sources import (
    CONTROL_ASSET,
    LIP_SYNC_ASSET,
    QUALITY_ASSET,
    RunSources,
    find_published,
    read_sources,
)
from evaluation.report.summary import (
    EVALUATION_REPORT,
    REPORT_PAGE,
    REPORT_TABLE,
    SUMMARY_TABLE,
    write_summary,
)
from evaluation.report.tables import ReportTable, build_tables
from evaluation.report.videos import ReportVideo, VideoSettings, alternate_tasks, encode_video
from storage.fingerprint import DIGEST_DIGITS
from storage.publishing import BuildReport, Published, Recipe, materialise
from storage.settings import Settings

logger = logging.getLogger(__name__)

CODE_VERSION: Final = "3"
MEGABYTE: Final = 1_000_000
TEXT_RESERVE_BYTES: Final = MEGABYTE
"""Part of the page's size that is not available to videos; a report of 200 metrics needs about half of it."""
SECTIONS: Final = (
    (
        CONTROL_ASSET,
        "control",
        "Control accuracy",
        "How closely the output follows its drivers. Output and drivers are measured by the same labellers.",
    ),
    (
        LIP_SYNC_ASSET,
        "lip-sync",
        "Lip sync",
        "How well lip motion and audio match. Values of different scorers or tasks are not comparable.",
    ),
    (
        QUALITY_ASSET,
        "quality",
        "Image quality and identity",
        "How good the images are and whether they show the person of the portrait.",
    ),
)
"""Evaluation, anchor, title and explanation of each section, in the page's order."""


class ReportSettings(Settings):
    """Limits of the report page. Videos beyond them are left out, which the page notes."""

    max_videos: int = Field(
        default=12, ge=0, description="Maximum number of embedded videos; 0: no film either"
    )
    max_page_mb: float = Field(
        default=15.0,
        gt=TEXT_RESERVE_BYTES / MEGABYTE,
        description="Maximum size of the page in millions of bytes",
    )
    videos: VideoSettings = VideoSettings()
    film: VideoSettings = Field(
        default=VideoSettings(panel_side_px=224), description="Encoding of the first screen's video"
    )


def run_report(root: UPath, run: str, settings: ReportSettings, *, force: bool = False) -> Published:
    """Build a run's report unless it is up to date.

    Raises:
        ValueError: an evaluation is not published, or measured other videos than the current ones.
    """
    inputs = {asset: build.as_input() for asset, build in find_published(root, run).items()}
    recipe = Recipe(EVALUATION_REPORT, run, CODE_VERSION, settings, inputs)

    def build(work: Path) -> BuildReport:
        return build_report(read_sources(root, run), settings, work)

    return materialise(root, recipe, build, force=force)


def build_report(sources: RunSources, settings: ReportSettings, folder: Path) -> BuildReport:
    """Write the three files into a folder."""
    results = derive_results(sources.records)
    matrices = build_matrices(sources.matrix)
    first = build_first_screen(sources, results, matrices, settings.film if settings.max_videos else None)
    film_bytes = 0 if first.film is None else first.film.bytes_in_page
    videos = encode_videos(sources, settings, film_bytes)
    overview = build_overview(results)
    page = ReportPage(
        title=f"Evaluation of run {sources.run}",
        subtitle=f"{sources.facts.side_px} px, {sources.plan.where}",
        first=first,
        facts=_header_facts(sources),
        sources=_source_facts(sources),
        notes=sources.plan.notes,
        overview=overview,
        matrices=matrices,
        cell_tables=build_tables(
            results.select([record for record in results.records if is_matrix_cell(record)]),
            table_per_scorer=False,
        ),
        sections=[
            ReportSection(anchor, title, explanation, _section_tables(sources, results, asset))
            for asset, anchor, title, explanation in SECTIONS
        ],
        videos=videos,
        videos_note=_videos_note(sources, len(videos), settings),
        closing=(
            f"In the same folder: {REPORT_TABLE} (the value of every video) and {SUMMARY_TABLE} (the means).",
            f"To compare with another run of the same reenactment plan: pdfgc compare {sources.run} OTHER.",
        ),
    )
    (folder / REPORT_PAGE).write_text(render(page), "utf-8")
    write_records(folder / REPORT_TABLE, results.records)
    write_summary(folder / SUMMARY_TABLE, results)
    counts = {
        "records": len(results.records),
        "baseline ahead": len(overview.baseline_ahead),
        "model ahead": len(overview.model_ahead),
        "videos in the page": len(videos),
        "page bytes": (folder / REPORT_PAGE).stat().st_size,
    }
    return BuildReport(counts=counts, refusals={})


def build_overview(results: Results) -> Overview:
    """Sort the comparisons by who is ahead, and collect metrics of the model without values."""
    cell_keys = {record.key for record in results.records if is_matrix_cell(record)}
    metrics = [item for key, item in results.comparisons.items() if key not in cell_keys]
    ranked = sorted(
        (item for item in metrics if not item.is_upper_bound), key=lambda item: not item.significant
    )
    return Overview(
        model_ahead=[item for item in ranked if item.model_ahead],
        tied=[item for item in ranked if item.advantage == 0],
        baseline_ahead=[item for item in ranked if item.baseline_ahead],
        upper_bounds=[item for item in metrics if item.is_upper_bound and item.baseline_ahead],
        cells=[
            item for key, item in results.comparisons.items() if key in cell_keys and not item.is_upper_bound
        ],
        unmeasured=group_unmeasured(results),
    )


def group_unmeasured(results: Results) -> list[UnmeasuredGroup]:
    """Metrics of the model without any value, by reason, the most frequent first; no matrix cells."""
    cell_keys = {record.key for record in results.records if is_matrix_cell(record)}
    by_reason: dict[str, list[str]] = {}
    for key, summary in results.summaries.items():
        if key.method == MODEL and summary.mean is None and key not in cell_keys:
            for reason in summary.missing:
                by_reason.setdefault(reason, []).append(f"{key.metric} ({key.task}, {key.scorer})")
    groups = [UnmeasuredGroup(reason, names) for reason, names in by_reason.items()]
    return sorted(groups, key=lambda group: -len(group.metrics))


def encode_videos(sources: RunSources, settings: ReportSettings, film_bytes: int = 0) -> list[ReportVideo]:
    """Encode videos for the page, alternating between tasks, until a limit is reached.

    Args:
        sources: The evaluations.
        settings: With the limits.
        film_bytes: What the first screen's video takes of the page.
    """
    available = settings.max_page_mb * MEGABYTE - TEXT_RESERVE_BYTES - film_bytes
    videos: list[ReportVideo] = []
    for reenactment in alternate_tasks(sources.plan.reenactments)[: settings.max_videos]:
        video = encode_video(sources.folders[GENERATED_VIDEOS], reenactment, settings.videos)
        available -= video.bytes_in_page
        if available < 0:
            break
        videos.append(video)
        logger.info("Embedded video %s (%.0f kB)", reenactment.name, video.bytes_in_page / 1000)
    return videos


def _section_tables(sources: RunSources, results: Results, asset: str) -> list[ReportTable]:
    records = [record for record in sources.records_by_asset[asset] if not is_matrix_cell(record)]
    return build_tables(results.select(records), table_per_scorer=asset == LIP_SYNC_ASSET)


def _header_facts(sources: RunSources) -> list[Fact]:
    newest = max(build.manifest.finished_at for build in sources.published.values())
    people = {clip.identity for clip in sources.facts.clips.values()}
    plan = sources.plan
    return [
        Fact("Checkpoint", f"{sources.facts.checkpoint}, weights {sources.checkpoint}"),
        Fact("Data set", f"{sources.dataset}, {plan.where}"),
        Fact("Reenactment plan", f"{plan.name}: {len(plan.reenactments)} videos of {len(people)} people"),
        Fact("Resolution", f"{sources.facts.side_px} px, 25 fps"),
        Fact("Networks in training", sources.judges.trained),
        Fact("Networks that judge", ", ".join(sources.judges.judged)),
        Fact("Judge without a part in training", sources.judges.independent),
        Fact("Evaluated", _minute(newest)),
        Fact("Code", f"pdfgc {version('pdfgc')}, report {CODE_VERSION}"),
    ]


def _source_facts(sources: RunSources) -> list[Fact]:
    """Content digests of everything that the records come from."""
    evaluations = [
        Fact(
            asset,
            f"{build.manifest.content_digest[:DIGEST_DIGITS]}, code version {build.manifest.code_version}, "
            f"built {_minute(build.manifest.finished_at)}",
        )
        for asset, build in sources.published.items()
    ]
    inputs = sources.published[GENERATED_VIDEOS].manifest.inputs
    weights = [
        Fact(f"{GENERATED_VIDEOS} input: {name}", value.digest[:DIGEST_DIGITS])
        for name, value in inputs.items()
    ]
    plan = sources.plan
    return [
        *evaluations,
        *weights,
        Fact("reenactment plan", f"{plan.name}, data set {sources.dataset}, seed {plan.seed}"),
    ]


def _videos_note(sources: RunSources, shown: int, settings: ReportSettings) -> str:
    count = len(sources.plan.reenactments)
    note = f"All {count} videos."
    if shown < count:
        note = (
            f"{shown} of {count} videos, alternating between tasks (limits: {settings.max_videos} videos, "
            f"{settings.max_page_mb:g} MB). All videos are published as {GENERATED_VIDEOS}."
        )
    return f"{note} The audio is the lip driver's. All faces are scaled to one size."


def _minute(timestamp: str) -> str:
    """A manifest's time (UTC, ISO 8601) to the minute."""
    return f"{timestamp[:16].replace('T', ' ')} UTC"
