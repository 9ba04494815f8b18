"""The report page of a list's videos: the page of a run, with the list as its source."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from evaluation.controls import CONTROLS
from evaluation.records import MetricRecord
from evaluation.referee.listing import MediaPart
from evaluation.referee.measure import Measured, RowMedia
from evaluation.report.build import SECTIONS, build_overview
from evaluation.report.first_screen import DRIVEN, FirstScreen, film_panels, first_matrix
from evaluation.report.key_figures import verdict
from evaluation.report.matrix import MATRIX_TABLE, build_matrices, is_matrix_cell, read_matrix
from evaluation.report.page import Fact, ReportPage, ReportSection, render
from evaluation.report.results import Results, derive_results
from evaluation.report.sources import CONTROL_ASSET, LIP_SYNC_ASSET, QUALITY_ASSET
from evaluation.report.summary import REPORT_TABLE, SUMMARY_TABLE
from evaluation.report.tables import ReportTable, build_tables
from evaluation.report.videos import GENERATED, ReportVideo, VideoPanel, VideoSettings, encode_panels
from preprocessing.media.encoding import write_video
from preprocessing.schema import FRAMES_PER_SECOND
from storage.atomic import temporary_folder
from storage.fingerprint import DIGEST_DIGITS, file_sha256

if TYPE_CHECKING:
    from evaluation.referee.referee import RefereeResult

SMALL: Final = VideoSettings()
LARGE: Final = VideoSettings(panel_side_px=224)


def write_page(
    path: Path,
    listed: Path,
    result: "RefereeResult",
    measured: Measured,
    films: Sequence[RowMedia],
) -> None:
    """Write the page of a measured list."""
    results = derive_results(result.records)
    cells = read_matrix(path.parent / MATRIX_TABLE)
    matrices = build_matrices(cells)
    videos = [encode_row(media, SMALL, result.framing) for media in films]
    figures = result.figures
    film = encode_row(films[0], LARGE, result.framing, film=True)
    by_asset = {
        CONTROL_ASSET: measured.control.records,
        LIP_SYNC_ASSET: measured.lip_sync,
        QUALITY_ASSET: measured.quality,
    }
    page = ReportPage(
        title=f"Referee of {listed.name}",
        subtitle=f"{len(result.rows)} videos, {result.framing} pictures, 224 px, 25 fps",
        first=FirstScreen(film, _caption(films[0]), verdict(figures), figures, first_matrix(matrices)),
        facts=_facts(listed, result),
        sources=_sources(result),
        notes=[row.text(listed) for row in result.refused],
        overview=build_overview(results),
        matrices=matrices,
        cell_tables=build_tables(
            results.select([record for record in result.records if is_matrix_cell(record)]),
            table_per_scorer=False,
        ),
        sections=[
            ReportSection(anchor, title, explanation, _tables(results, by_asset[asset], asset))
            for asset, anchor, title, explanation in SECTIONS
        ],
        videos=videos,
        videos_note=f"{len(videos)} of {len(result.rows)} videos, with their own sound.",
        closing=(
            f"In the same folder: {REPORT_TABLE} (the value of every video) and {SUMMARY_TABLE} (the means).",
        ),
    )
    path.write_text(render(page), "utf-8")


def encode_row(media: RowMedia, settings: VideoSettings, framing: str, *, film: bool = False) -> ReportVideo:
    """A row's pictures side by side: portrait, generated, truth, drivers; with the video's sound.

    The panels are the pictures that were measured, so that framing `aligned` shows what was cut out.
    """
    row = media.row
    with temporary_folder("referee") as folder:
        panels = [VideoPanel(GENERATED, framing, _written(folder / "generated.mp4", media, GENERATED))]
        if media.portrait is not None:
            portrait = folder / "portrait.png"
            Image.fromarray(media.portrait).save(portrait)
            source = row.portrait.path.name if row.portrait is not None else "first frame of the truth"
            panels.insert(0, VideoPanel("portrait", source, portrait))
        if media.truth is not None and row.truth is not None:
            panels.append(
                VideoPanel("truth", row.truth.path.name, _written(folder / "truth.mp4", media, "truth"))
            )
        for title, detail, control in _driver_titles(media):
            panels.append(VideoPanel(title, detail, _written(folder / f"{control}.mp4", media, control)))
        frames = len(media.generated.pictures)
        ordered = film_panels(panels) if film else panels
        return encode_panels(row.name, row.task, ordered, frames, settings)


def _driver_titles(media: RowMedia) -> list[tuple[str, str, str]]:
    """Title, file and one control of each file that drove the face, the truth left out."""
    by_part: dict[MediaPart, list[str]] = {}
    for control in CONTROLS:
        part = media.row.drivers.get(control)
        if part is not None and control in media.drivers and part != media.row.truth:
            by_part.setdefault(part, []).append(control)
    return [(f"drives {', '.join(names)}", part.path.name, names[0]) for part, names in by_part.items()]


def _written(path: Path, media: RowMedia, which: str) -> Path:
    """A part of the row as a video; the generated one with the sound that was scored."""
    if which == GENERATED:
        pictures, sound = media.generated.pictures, media.sound
    elif which == "truth":
        assert media.truth is not None  # the caller looked
        pictures, sound = media.truth.pictures, None
    else:
        driver = next(one for control, one in media.drivers.items() if control == which)
        pictures, sound = driver.pictures, None
    write_video(path, iter(pictures), FRAMES_PER_SECOND, sound)
    return path


def _caption(media: RowMedia) -> str:
    row = media.row
    drivers = [
        f"{DRIVEN[control]} of {row.drivers[control].path.name}"
        for control in CONTROLS
        if control in row.drivers
    ]
    driven = f"driven by {', '.join(drivers)}" if drivers else "compared with the truth"
    return f"{row.name}: {driven}"


def _facts(listed: Path, result: "RefereeResult") -> list[Fact]:
    return [
        Fact("List", f"{listed.name}, sha256 {file_sha256(listed)[:DIGEST_DIGITS]}"),
        Fact("Rows", f"{len(result.rows)} measured, {len(result.refused)} left out (reasons below)"),
        Fact("Pictures", f"{result.framing}, resized to 224 px at 25 fps"),
        Fact("Code", f"pdfgc {version('pdfgc')}"),
    ]


def _sources(result: "RefereeResult") -> list[Fact]:
    """Digest of every video that was measured."""
    return [
        Fact(row.name, f"{row.generated.path.name} {file_sha256(row.generated.path)}") for row in result.rows
    ]


def _tables(results: Results, records: Sequence[MetricRecord], asset: str) -> list[ReportTable]:
    chosen = [record for record in records if not is_matrix_cell(record)]
    return build_tables(results.select(chosen), table_per_scorer=asset == LIP_SYNC_ASSET)
