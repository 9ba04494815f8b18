"""The page of `pdfgc app` in a browser: add a portrait and a driver, set a strength, play the video."""

import base64
from collections.abc import Generator
from pathlib import Path

import pytest
from PIL import Image

from evaluation.app.handlers import AppSettings
from storage.root import open_root
from tests.factories.evaluation.app_server import AppClient, serve_app
from tests.factories.evaluation.head_files import fitted_axes, publish_toy_run, write_released_tiny
from tests.factories.preprocessing.videos import face_pictures, write_face_video

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, expect

from tests.factories.pipelines.browser import headless_chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]
RENDER_TIMEOUT_MS = 120_000  # also on a busy machine

DROP = """(input, [name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const dropped = new DataTransfer();
    dropped.items.add(new File([bytes], name, { type: "image/png" }));
    input.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
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
def app(tmp_path: Path) -> Generator[AppClient]:
    (face,) = face_pictures(1)
    Image.fromarray(face).save(tmp_path / "face.png")
    write_face_video(tmp_path / "driver.mp4", 10)
    write_released_tiny(tmp_path / "released")
    root = open_root(str(tmp_path / "root"))
    with serve_app(AppSettings(root, tmp_path / "videos", "cpu", official_networks="tiny")) as app:
        yield app


def test_page_renders_a_video_from_uploaded_files(tmp_path: Path, app: AppClient, browser: Browser) -> None:
    page = browser.new_page()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(app.address)
    page.get_by_label("Checkpoint").select_option(label="Released checkpoint folder…")
    page.get_by_label("Folder of the released files").fill(str(tmp_path / "released"))

    # A portrait alone: a one-line error, and the page stays usable.
    face = base64.b64encode((tmp_path / "face.png").read_bytes()).decode()
    page.locator("#portrait-input .drop").evaluate(DROP, ["face.png", face])
    page.get_by_role("button", name="Generate video").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "the length of the video is not determined", timeout=RENDER_TIMEOUT_MS
    )

    page.locator("#file-lip").set_input_files(tmp_path / "driver.mp4")
    page.get_by_role("button", name="Use for all drivers").first.click()
    expect(page.locator("#drivers .name")).to_have_text(["driver.mp4"] * 4)
    page.get_by_label("Separate strengths for gaze and blinks").check()
    expect(page.locator("#strength-eye")).to_be_hidden()
    page.locator("#strength-blink").fill("0.5")
    page.locator("#strength-pose").fill("1.5")
    expect(page.get_by_label("pose strength").last).to_have_value("1.5")
    page.get_by_label("seconds").fill("0.4")
    page.get_by_label("side-by-side").check()
    page.get_by_role("button", name="Generate video").click()
    expect(page.locator("#video")).to_be_visible(timeout=RENDER_TIMEOUT_MS)

    width, duration, position, has_audio = page.locator("#video").evaluate(PLAY)
    assert (width, has_audio) == (64, True)
    assert position == duration == pytest.approx(0.4, abs=0.1)
    assert page.locator("#grid-video").evaluate(PLAY)[0] == 5 * 224
    expect(page.locator("#summary")).to_contain_text("10 frames at 64 px, released files in")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 2
    assert errors == []
    assert {url for url in urls if not url.startswith((app.address, "blob:", "data:"))} == set()
    page.close()


def test_page_offers_separate_gaze_where_the_run_has_it(tmp_path: Path, browser: Browser) -> None:
    publish_toy_run(tmp_path / "root", "able", eye_axes=fitted_axes())
    root = publish_toy_run(tmp_path / "root", "old")
    with serve_app(AppSettings(root, tmp_path / "videos", "cpu")) as app:
        page = browser.new_page()
        page.goto(app.address)
        page.get_by_label("Checkpoint").select_option("old")
        expect(page.locator("#checkpoint-info")).to_have_text("Training run")
        expect(page.get_by_label("Separate strengths for gaze and blinks")).to_be_hidden()
        page.get_by_label("Checkpoint").select_option("able")
        page.get_by_label("Separate strengths for gaze and blinks").check()
        eye = page.locator("label.strength", has=page.locator("#strength-eye"))
        expect(eye).to_contain_text("other")
        expect(page.locator("#strength-gaze")).to_be_visible()
        page.get_by_label("Checkpoint").select_option("old")
        expect(page.locator("#strength-blink")).to_be_hidden()
        expect(eye).to_contain_text("strength")
        page.close()


def test_example_runs_with_one_click_on_a_phone(tmp_path: Path, browser: Browser) -> None:
    with serve_app(AppSettings(open_root(str(tmp_path / "root")), tmp_path / "videos", "cpu")) as app:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(app.address)
        expect(page.locator("#before")).to_have_text("96 \N{MULTIPLICATION SIGN} 96 px by the starter model")
        expect(page.get_by_role("button", name="Generate video")).to_be_in_viewport(ratio=1)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.get_by_role("button", name="Speech", exact=True).click()
        expect(page.locator("#video")).to_be_visible(timeout=RENDER_TIMEOUT_MS)
        expect(page.locator("#portrait-input .crop img")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()
        assert errors == []
        page.close()


def test_portrait_moves_as_the_pads_are_dragged(tmp_path: Path, app: AppClient, browser: Browser) -> None:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(app.address)
    page.get_by_label("Checkpoint").select_option("starter")
    page.locator("#file-appearance").set_input_files(tmp_path / "face.png")
    page.get_by_role("button", name="Move the portrait live").click()
    expect(page.locator("#puppet-rate")).to_contain_text("96 px: drag on the pads", timeout=RENDER_TIMEOUT_MS)
    before = page.locator("#puppet").evaluate("(canvas) => canvas.toDataURL()")
    page.locator("#head-pad").scroll_into_view_if_needed()
    box = page.locator("#head-pad").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for step in range(30):
        page.mouse.move(box["x"] + box["width"] * (0.5 + step / 60), box["y"] + box["height"] / 2)
    page.mouse.up()
    expect(page.locator("#puppet-rate")).to_contain_text("in the last second", timeout=RENDER_TIMEOUT_MS)
    assert page.locator("#puppet").evaluate("(canvas) => canvas.toDataURL()") != before
    expect(page.get_by_role("alert")).to_be_hidden()
    assert errors == []
    page.close()
