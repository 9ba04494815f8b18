"""The report of a run: one HTML page that holds all it shows, and its figures as Parquet beside it.

What is published: `report.html`, `report.parquet` (every figure, as `evaluation.records` writes them) and
`summary.parquet` (their means, and which baseline is ahead).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pydantic import Field
from upath import UPath

from evaluation.generation.files import GENERATED_VIDEOS
from evaluation.records import MODEL, MetricRecord, summarise, write_records
from evaluation.report.contests import find_contests
from evaluation.report.facts import heading_facts, made_of
from evaluation.report.matrix import build_matrices, split_cells
from evaluation.report.page import ReportPage, Section, Unmeasured, Verdict, render
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
from evaluation.report.tables import build_tables
from evaluation.report.videos import ReportVideo, VideoSettings, make_video, take_turns
from storage.publishing import BuildReport, Published, Recipe, materialise
from storage.settings import Settings

CODE_VERSION: Final = "1"
MEGABYTE: Final = 1_000_000
ROOM_FOR_TEXT_BYTES: Final = MEGABYTE
"""Of the page's size that is not given to videos; a report of 200 metrics takes about half of it."""
SECTIONS: Final = (
    (
        CONTROL_ASSET,
        "following",
        "Following accuracy and control",
        "How near the output comes to what drives it; output and drivers are read by the same labellers.",
    ),
    (
        LIP_SYNC_ASSET,
        "lip-sync",
        "Lip sync",
        "How well lips and sound fit. Each scorer and protocol has its own table: their figures never mix.",
    ),
    (
        QUALITY_ASSET,
        "quality",
        "Quality and identity",
        "How good the pictures are and whether they show the same person.",
    ),
)
"""Evaluation, anchor, title, what stands under it; in the page's order."""


class ReportSettings(Settings):
    """What the page holds.

    Raises:
        ValueError: a bound leaves no room, or the panels' side is odd.
    """

    most_videos: int = Field(default=12, ge=0)
    largest_page_mb: float = Field(
        default=15.0,
        gt=ROOM_FOR_TEXT_BYTES / MEGABYTE,
        description="Millions of bytes; videos that do not fit are left out, and the page says so",
    )
    videos: VideoSettings = VideoSettings()


def run_report(
    root: UPath,
    run: str,
    settings: ReportSettings,
    *,
    force: bool = False,
    progress: Callable[[str], None],
) -> Published:
    """Make a run's report unless it is up to date.

    Raises:
        ValueError: an evaluation is not published, or is of other videos than those that are now.
    """
    inputs = {name: one.manifest.content_digest for name, one in find_published(root, run).items()}
    recipe = Recipe(EVALUATION_REPORT, run, CODE_VERSION, settings, inputs)

    def build(work: Path) -> BuildReport:
        return build_report(read_sources(root, run), settings, work, progress)

    return materialise(root, recipe, build, force=force)


def build_report(
    sources: RunSources, settings: ReportSettings, folder: Path, progress: Callable[[str], None]
) -> BuildReport:
    """Write the three files into a folder."""
    rows = sources.records
    _, cells = split_cells(rows)
    videos = embed_videos(sources, settings, progress)
    verdict = find_verdict(rows)
    page = ReportPage(
        run=sources.run,
        facts=heading_facts(sources, CODE_VERSION),
        sources=made_of(sources),
        notes=sources.plan.notes,
        verdict=verdict,
        matrices=build_matrices(sources.matrix),
        cell_tables=build_tables(cells, scorers_apart=False),
        sections=[
            Section(
                anchor,
                title,
                explanation,
                build_tables(split_cells(sources.figures[asset])[0], scorers_apart=asset == LIP_SYNC_ASSET),
            )
            for asset, anchor, title, explanation in SECTIONS
        ],
        videos=videos,
        videos_told=_videos_told(sources, len(videos), settings),
    )
    (folder / REPORT_PAGE).write_text(render(page), "utf-8")
    write_records(folder / REPORT_TABLE, rows)
    write_summary(folder / SUMMARY_TABLE, rows)
    counts = {
        "figures": len(rows),
        "baseline ahead": len(verdict.lost),
        "model ahead": len(verdict.won),
        "videos in the page": len(videos),
        "page bytes": (folder / REPORT_PAGE).stat().st_size,
    }
    return BuildReport(counts=counts, refusals={})


def find_verdict(rows: Sequence[MetricRecord]) -> Verdict:
    """Who is ahead, clear contests first; and why figures of the model are missing."""
    shown, cells = split_cells(rows)
    contests = find_contests(shown)
    counted = sorted((one for one in contests if not one.against_the_truth), key=lambda one: not one.clear)
    unmeasured = [
        Unmeasured(f"{summary.key.metric} ({summary.key.task}, {summary.key.scorer})", reason)
        for summary in summarise(shown)
        if summary.key.method == MODEL and summary.mean is None
        for reason in summary.missing
    ]
    return Verdict(
        won=[one for one in counted if one.model_ahead],
        level=[one for one in counted if one.advantage == 0],
        lost=[one for one in counted if one.baseline_ahead],
        behind_the_truth=[one for one in contests if one.against_the_truth and one.baseline_ahead],
        cells=[one for one in find_contests(cells) if not one.against_the_truth],
        unmeasured=unmeasured,
    )


def embed_videos(
    sources: RunSources, settings: ReportSettings, progress: Callable[[str], None]
) -> list[ReportVideo]:
    """Videos for the page, a task in turn, until there are enough or no more fit."""
    room = settings.largest_page_mb * MEGABYTE - ROOM_FOR_TEXT_BYTES
    videos: list[ReportVideo] = []
    for reenactment in take_turns(sources.plan.reenactments)[: settings.most_videos]:
        video = make_video(sources.folders[GENERATED_VIDEOS], reenactment, settings.videos)
        room -= video.bytes_in_page
        if room < 0:
            break
        videos.append(video)
        progress(f"{reenactment.name}: {video.bytes_in_page / 1000:.0f} kB in the page")
    return videos


def _videos_told(sources: RunSources, shown: int, settings: ReportSettings) -> str:
    whole = len(sources.plan.reenactments)
    told = f"All {whole} videos."
    if shown < whole:
        told = (
            f"{shown} of {whole} videos stand in this page: at most {settings.most_videos}, and no more than "
            f"fit {settings.largest_page_mb:g} MB, one of each task in turn. All of them are published "
            f"as {GENERATED_VIDEOS}."
        )
    return (
        f"{told} The sound is the lip driver's. Faces are shown at one size; the generated ones are enlarged "
        "where the networks are small."
    )
