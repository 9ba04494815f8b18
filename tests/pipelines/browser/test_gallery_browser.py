"""The gallery in a browser: a clip is played with its labels, anchors are shown, a threshold is moved."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from upath import UPath

from pipelines.operations.settings import OperationsSettings
from pipelines.webserver import guarded
from tests.factories.pipelines.postgres_server import free_port
from tests.factories.preprocessing.gallery_root import BATCH, FIRST, REFUSED, publish_gallery_root

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect

from tests.factories.pipelines.browser import headless_chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FILE = 'ann/<img src=x onerror="document.title=1">.mp4'
TIMEOUT_MS = 60_000  # generous, for a busy machine
REFUSED_VALUE = "status of 400"  # what Chromium logs of a threshold out of its bounds
PIXELS = "canvas => canvas.toDataURL()"


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with headless_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    assert browser.is_connected()
    root = UPath(tmp_path_factory.mktemp("root"))
    publish_gallery_root(root, file=FILE)
    with served(root) as url:
        yield f"{url}/gallery/"


@contextmanager
def served(root: UPath) -> Generator[str]:
    """The pages beside Dagster's UI, without Dagster."""
    app = guarded(Starlette(), OperationsSettings(), root)
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(params=[(1440, 900), (390, 844)], ids=["wide", "narrow"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Generator[Page]:
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(TIMEOUT_MS)
    expect.set_options(timeout=TIMEOUT_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: (
            errors.append(message.text)
            if message.type == "error" and REFUSED_VALUE not in message.text
            else None
        ),
    )
    yield page
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0  # nothing is cut off
    assert errors == []
    page.close()


def test_clips_are_filtered_and_one_is_opened(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator(".card")).to_have_count(4)
    expect(page.get_by_text("blurred: 6, bound 8")).to_be_visible()
    page.get_by_label("State").select_option("accepted")
    expect(page.locator(".card")).to_have_count(2)
    expect(page.get_by_text(FILE)).to_be_visible()  # as text
    assert page.title() == "pdfgc gallery"
    page.locator(".card").first.click()
    expect(page.locator("canvas.face")).to_be_visible()
    expect(page.get_by_text("a sample of the shards")).to_be_visible()


def test_clip_is_played_with_labels_on_demand(page: Page, url: str) -> None:
    page.goto(f"{url}#clip/{BATCH}/{FIRST}")
    expect(page.locator(".readout")).to_contain_text("frame 3 of 4, 0.08 s")
    canvas = page.locator("canvas.face")
    with_labels = canvas.evaluate(PIXELS)
    for name in ("Landmarks", "Pose axes", "Gaze and blink"):
        page.get_by_label(name).uncheck()
    assert canvas.evaluate(PIXELS) != with_labels
    expect(page.locator("canvas.chart")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".readout")).to_contain_text("frame 2 of 4")
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".readout")).not_to_contain_text("frame 2 of 4")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".triple")).to_have_count(2)


def test_refused_clip_is_played_without_labels(page: Page, url: str) -> None:
    page.goto(f"{url}#clip/{BATCH}/{REFUSED}")
    expect(page.get_by_text("a refused candidate")).to_be_visible()
    expect(page.get_by_label("Landmarks")).to_be_enabled()
    expect(page.get_by_label("Pose axes")).to_be_disabled()
    expect(page.locator("tr.bad")).to_contain_text("Sharpness")


def test_moved_threshold_shows_what_it_keeps(page: Page, url: str) -> None:
    page.goto(f"{url}#thresholds")
    summary = page.locator(".summary")
    expect(summary).to_contain_text("2 clips kept")
    expect(page.get_by_role("button", name="Reprocess")).to_be_disabled()
    page.locator("[data-setting=minimum_sharpness] input").fill("12")
    expect(summary).to_contain_text("1 clips kept")
    expect(summary.get_by_text("lost")).to_contain_text("1 (0.16 s)")
    expect(page.get_by_text("Settings of the run: clips.minimum_sharpness: 12")).to_be_visible()
    expect(page.locator(".near .card")).to_have_count(3)
    expect(page.get_by_role("button", name="Reprocess")).to_be_enabled()
    page.locator("[data-setting=maximum_brightness] input").fill("300")
    expect(summary).to_contain_text("maximum_brightness must be <= 255")
    expect(page.get_by_role("button", name="Reprocess")).to_be_disabled()


def test_thresholds_without_scores_say_so(page: Page, tmp_path: Path) -> None:
    with served(UPath(tmp_path)) as url:
        page.goto(f"{url}/gallery/#thresholds")
        expect(page.get_by_text("There are no clips yet.")).to_be_visible()
        page.get_by_role("link", name="Speakers").click()
        expect(page.get_by_text("No clip has another face in its picture.")).to_be_visible()
        expect(page.locator(".panel")).to_have_count(0)


def test_anchors_stand_beside_their_sources(page: Page, url: str) -> None:
    page.goto(f"{url}#anchors?state=refused")
    images = page.locator(".triple img")
    expect(images).to_have_count(3)
    for image in images.all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", value=True)
        assert image.evaluate("image => image.naturalWidth") == 224
    page.goto(f"{url}#runs")
    expect(page.get_by_text("No run has trained a stage yet.")).to_be_visible()
