"""The page of `pdfgc app` in a browser: drop a portrait and a driver, move a strength, see the video."""

import base64
from collections.abc import Generator
from pathlib import Path

import pytest
from PIL import Image

from evaluation.app.page import PageSettings
from storage.root import open_root
from tests.factories.head_files import fitted_axes, publish_toy_run, write_released_tiny
from tests.factories.page_server import Page, served
from tests.factories.videos import face_pictures, write_face_video

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, expect

from tests.factories.browser import headless_chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MAKING_MS = 120_000  # on a machine that does other work as well

DROP = """(place, [name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const dropped = new DataTransfer();
    dropped.items.add(new File([bytes], name, { type: "image/png" }));
    place.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""
PLAY = """async (video) => {
    video.muted = true;
    await video.play();
    await new Promise((resume) => video.addEventListener("ended", resume));
    return [video.videoWidth, video.duration, video.currentTime, video.webkitAudioDecodedByteCount > 0];
}"""


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with headless_chromium() as browser:
        yield browser


@pytest.fixture
def page(tmp_path: Path) -> Generator[Page]:
    (face,) = face_pictures(1)
    Image.fromarray(face).save(tmp_path / "face.png")
    write_face_video(tmp_path / "driver.mp4", 10)
    write_released_tiny(tmp_path / "released")
    root = open_root(str(tmp_path / "root"))
    with served(PageSettings(root, tmp_path / "made", "cpu", official_networks="tiny")) as page:
        yield page


def test_a_person_drops_files_moves_a_strength_and_sees_the_video(
    tmp_path: Path, page: Page, browser: Browser
) -> None:
    shown = browser.new_page()
    asked: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    errors: list[str] = []
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.goto(page.address)
    shown.get_by_label("Checkpoint").select_option(label="a folder of released files …")
    shown.get_by_label("Folder of the released files").fill(str(tmp_path / "released"))

    # Nothing but a portrait: one line, and the page stays usable.
    face = base64.b64encode((tmp_path / "face.png").read_bytes()).decode()
    shown.locator("#appearance-place .drop").evaluate(DROP, ["face.png", face])
    shown.get_by_role("button", name="Make the video").click()
    expect(shown.get_by_role("alert")).to_contain_text(
        "nothing tells how long the video is", timeout=MAKING_MS
    )

    shown.locator("#file-lip").set_input_files(tmp_path / "driver.mp4")
    shown.get_by_role("button", name="use for all drivers").first.click()
    expect(shown.locator("#drivers .name")).to_have_text(["driver.mp4"] * 4)
    shown.get_by_label("gaze and blinks apart").check()
    expect(shown.locator("#strength-eye")).to_be_hidden()
    shown.locator("#strength-blink").fill("0.5")
    shown.locator("#strength-pose").fill("1.5")
    expect(shown.get_by_label("pose strength").last).to_have_value("1.5")
    shown.get_by_label("seconds").fill("0.4")
    shown.get_by_label("side by side").check()
    shown.get_by_role("button", name="Make the video").click()
    expect(shown.locator("#video")).to_be_visible(timeout=MAKING_MS)

    width, duration, at, sounded = shown.locator("#video").evaluate(PLAY)
    assert (width, sounded) == (64, True)
    assert at == duration == pytest.approx(0.4, abs=0.1)
    assert shown.locator("#grid-video").evaluate(PLAY)[0] == 5 * 224
    expect(shown.locator("#facts")).to_contain_text("10 frames of 64 px by released files in")
    expect(shown.get_by_role("alert")).to_be_hidden()
    assert len(list((tmp_path / "made").glob("*.mp4"))) == 2
    assert errors == []
    assert {url for url in asked if not url.startswith((page.address, "blob:", "data:"))} == set()
    shown.close()


def test_a_runs_gaze_and_blinks_go_apart_where_it_measured_them_and_the_rest_beside_them(
    tmp_path: Path, browser: Browser
) -> None:
    publish_toy_run(tmp_path / "root", "able", eye_axes=fitted_axes())
    root = publish_toy_run(tmp_path / "root", "old")
    with served(PageSettings(root, tmp_path / "made", "cpu")) as page:
        shown = browser.new_page()
        shown.goto(page.address)
        shown.get_by_label("Checkpoint").select_option("old")
        expect(shown.locator("#checkpoint-told")).to_have_text("a training run under the root")
        expect(shown.get_by_label("gaze and blinks apart")).to_be_hidden()
        shown.get_by_label("Checkpoint").select_option("able")
        shown.get_by_label("gaze and blinks apart").check()
        eye = shown.locator("label.strength", has=shown.locator("#strength-eye"))
        expect(eye).to_contain_text("the rest")
        expect(shown.locator("#strength-gaze")).to_be_visible()
        shown.get_by_label("Checkpoint").select_option("old")
        expect(shown.locator("#strength-blink")).to_be_hidden()
        expect(eye).to_contain_text("strength")
        shown.close()
