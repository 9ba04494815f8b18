"""The report of published evaluations: page, tables and videos."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typing_extensions import override
from upath import UPath

from evaluation.generation.reenactment import Reenactment
from evaluation.records import read_records
from evaluation.report.build import (
    MEGABYTE,
    TEXT_RESERVE_BYTES,
    ReportSettings,
    run_report,
)
from evaluation.report.sources import read_sources
from evaluation.report.summary import REPORT_PAGE, REPORT_TABLE, SUMMARY_SCHEMA, SUMMARY_TABLE
from evaluation.report.videos import VideoSettings, alternate_tasks, plan_panels
from storage.publishing import Published
from storage.root import local_copy
from tests.factories.evaluation.report import CONTROLS, HOSTILE, publish_evaluations, small_plan

VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


class PageReader(HTMLParser):
    """Collects text, attributes, and whether tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, tag: str, name: str) -> list[str]:
        return [value for element, attribute, value in self.attributes if (element, attribute) == (tag, name)]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    root = UPath(tmp_path_factory.mktemp("root"))
    publish_evaluations(root)
    return run_report(root, "default", ReportSettings())


@pytest.fixture(scope="module")
def html(published: Published) -> str:
    return (local_copy(published.directory) / REPORT_PAGE).read_text("utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> PageReader:
    reader = PageReader()
    reader.feed(html)
    assert reader.open == []
    return reader


def text_of(page: PageReader) -> str:
    return re.sub(r"\s+", " ", "".join(page.text))


def test_page_has_no_external_urls(html: str, page: PageReader) -> None:
    addresses = [value for _, name, value in page.attributes if name in ("src", "href", "poster", "srcset")]
    assert addresses
    assert all(value.startswith(("data:", "#")) for value in addresses)
    assert "://" not in html
    assert "@import" not in html
    assert re.findall(r"url\(", html) == []
    assert page.values("script", "src") == []


def test_internal_links_have_targets(page: PageReader) -> None:
    anchors = {value for _, name, value in page.attributes if name == "id"}
    links = {value[1:] for value in page.values("a", "href")}
    assert links <= anchors


def test_page_escapes_values(html: str, page: PageReader) -> None:
    assert HOSTILE not in html
    assert HOSTILE in text_of(page)


def test_page_embeds_videos_with_labels(page: PageReader) -> None:
    sources = page.values("video", "src")
    assert len(sources) == 1 + 3  # the film of the first screen, then every video
    assert all(source.startswith("data:video/mp4;base64,") for source in sources)
    assert len(page.values("video", "poster")) == 4
    assert "self-00, from left to right: portrait; generated; ground truth and driver" in page.values(
        "video", "aria-label"
    )
    assert page.values("html", "lang") == ["en"]


def test_embedded_video_is_h264_with_audio(page: PageReader, tmp_path: Path) -> None:
    import base64

    import av

    path = tmp_path / "video.mp4"
    path.write_bytes(base64.b64decode(page.values("video", "src")[2].partition(",")[2]))
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        # Portrait, generated and four drivers of 160 px with gaps of 4 px.
        assert (video.codec_context.name, video.width, video.height) == ("h264", 6 * 160 + 5 * 4, 160)
        assert video.frames == 10
        assert sound.codec_context.name == "aac"


def test_page_lists_metrics_with_a_baseline_ahead(page: PageReader) -> None:
    text = text_of(page)
    assert "▲ beats the model" in text
    assert "a baseline is ahead in 3 (2 significantly)" in text
    minus = "\N{MINUS SIGN}"
    assert (
        f"cross · model {minus} “copy the portrait” · mediapipe_mesh gaze_error +2.00 ± 0.25 ° (n 3)" in text
    )


def test_header_names_the_evaluated_run(page: PageReader) -> None:
    text = text_of(page)
    for value in ("default", "defaultaaaaaaaaa", "d" * 16, "test-seed0: 3 videos of 5 people", "report 3"):
        assert value in text


def test_first_screen_shows_film_matrix_and_ten_figures(html: str, page: PageReader) -> None:
    first = html[html.index('<header class="first"') : html.index("</header>")]
    assert "autoplay muted loop playsinline controls" in first
    assert first.index("<b>portrait</b>") < first.index("<b>lip</b>") < first.index("<b>result</b>")
    assert first.count('<th scope="row" title=') == 10
    assert 'class="heat"' in first
    text = text_of(page)
    assert (
        "cross-00: the face of anna, driven by lips and sound of bela, head pose of cleo, gaze and blinks of "
        "dora, expression of emil; test split, people never trained on"
    ) in text
    # Every own cell of the matrix is .8 with gain .9; nothing says how many frames have a face.
    assert "Follows its driver in head turns (yaw), nods (pitch), mouth by sound, blinks" in text
    assert "0.1 dB below the still portrait" in text


def test_unmeasured_metrics_are_grouped_by_reason(html: str) -> None:
    group = html[html.index('<ul class="unmeasured">') :]
    assert "<b>1</b> metric: no syncnet_v2.model was given" in group


def test_details_are_folded_with_their_anchors_inside(html: str) -> None:
    sections = re.findall(
        r'<details class="fold"><summary><h2 id="[^"]+">[^<]+</h2></summary>\s*<section id="([^"]+)"', html
    )
    assert sections == [
        "overview",
        "matrix",
        "control",
        "lip-sync",
        "quality",
        "videos",
        "sources",
        "reading",
    ]


def test_page_gives_reasons_for_missing_values(page: PageReader) -> None:
    assert "no syncnet_v2.model was given" in text_of(page)


def test_report_writes_tables_beside_the_page(published: Published) -> None:
    folder = local_copy(published.directory)
    assert len(read_records(folder / REPORT_TABLE)) == published.manifest.counts["records"]
    summary = pq.read_table(folder / SUMMARY_TABLE)
    assert summary.schema.equals(SUMMARY_SCHEMA)
    (gaze,) = [
        row
        for row in summary.to_pylist()
        if (row["metric"], row["method"]) == ("gaze_error", "copy the portrait")
    ]
    assert (gaze["mean"], gaze["videos"], gaze["mark"]) == (4.5, 3, "beats the model")


def test_run_report_is_incremental(published: Published) -> None:
    root = UPath(published.directory.parent.parent.parent.parent)
    again = run_report(root, "default", ReportSettings())
    assert not again.built


def test_videos_beyond_the_page_size_are_left_out(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_evaluations(root)
    # Enough for one video of about 11 kB beside a film of 12 kB, not for two.
    settings = ReportSettings(
        max_page_mb=(TEXT_RESERVE_BYTES + 30_000) / MEGABYTE, film=VideoSettings(panel_side_px=160)
    )
    published = run_report(root, "default", settings)
    assert published.manifest.counts["videos in the page"] == 1
    html = (local_copy(published.directory) / REPORT_PAGE).read_text("utf-8")
    assert "1 of 3 videos, alternating between tasks" in html


def test_missing_evaluations_raise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no generated_videos, .*: pdfgc evaluate --run nobody"):
        run_report(UPath(tmp_path), "nobody", ReportSettings())


def test_evaluations_of_other_videos_raise(tmp_path: Path) -> None:
    publish_evaluations(UPath(tmp_path), measured="e" * 64, with_videos=False)
    with pytest.raises(ValueError, match="control_evaluation of run 'default' measured videos eeee"):
        read_sources(UPath(tmp_path), "default")


def test_page_size_below_the_text_reserve_raises() -> None:
    with pytest.raises(ValueError, match="max_page_mb must be > 1, got 1"):
        ReportSettings(max_page_mb=1.0)


def test_plan_panels_lists_every_driving_clip_once() -> None:
    titles = {
        one.name: [(panel.title, panel.path.name) for panel in plan_panels(Path(), one)]
        for one in small_plan().reenactments
    }
    assert titles == {
        "self-00": [
            ("portrait", "self-00.png"),
            ("generated", "self-00.mp4"),
            ("ground truth and driver", "anna.mp4"),
        ],
        "cross-00": [
            ("portrait", "cross-00.png"),
            ("generated", "cross-00.mp4"),
            ("drives lip", "bela.mp4"),
            ("drives pose", "cleo.mp4"),
            ("drives eye", "dora.mp4"),
            ("drives expression", "emil.mp4"),
        ],
        "control-00-pose": [
            ("unchanged", "self-00.mp4"),
            ("generated", "control-00-pose.mp4"),
            ("drives lip, eye, expression", "anna.mp4"),
            ("drives pose", "bela.mp4"),
        ],
    }


def test_protocols_alternate_tasks() -> None:
    self_videos = [
        Reenactment(f"self-{n}", "self", "a", 0, dict.fromkeys(CONTROLS, "a"), 10) for n in range(3)
    ]
    cross = Reenactment("cross-0", "cross", "a", 0, dict.fromkeys(CONTROLS, "b"), 10)
    names = [one.name for one in alternate_tasks([*self_videos, cross])]
    assert names == ["self-0", "cross-0", "self-1", "self-2"]
