"""Files below the root, served beside Dagster's UI: what is reachable, and how."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.types import ASGIApp

from pipelines.operations.settings import OperationsSettings
from pipelines.web.locations import file_url
from pipelines.web.root_files import require_served
from pipelines.webserver import guarded
from storage.root import open_root
from tests.factories.evaluation.asgi import LOCAL, send_request

BUILD = "assets/generated_videos/default/0123-4567"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    build = tmp_path / "root" / BUILD
    build.mkdir(parents=True)
    (build / "self 1.mp4").write_bytes(bytes(range(200)))
    (build / "card.md").write_text("# Card\n\n<script>alert(1)</script>\n\n| a |\n|---|\n| 1 |\n")
    (build / "report.html").write_text("<p>report")
    (build / ".hidden").write_text("hidden")
    (tmp_path / "root" / "dagster").mkdir()
    (tmp_path / "root" / "dagster" / "dagster.yaml").write_text("secret")
    (tmp_path / "outside.txt").write_text("outside")
    (build / "escape.txt").symlink_to(tmp_path / "outside.txt")
    (build / "home.txt").symlink_to(tmp_path / "root" / "dagster" / "dagster.yaml")
    (build / "folder").symlink_to(tmp_path)
    (build / "link.mp4").symlink_to(build / "self 1.mp4")
    return tmp_path / "root"


@pytest.fixture
def app(root: Path) -> ASGIApp:
    return guarded(Starlette(), OperationsSettings(), open_root(str(root)))


def test_video_is_served_in_parts(app: ASGIApp) -> None:
    url = file_url(f"{BUILD}/self 1.mp4")
    assert url == f"/files/{BUILD}/self%201.mp4"
    whole = send_request(app, "GET", f"/files/{BUILD}/self 1.mp4")
    assert (whole.status, whole.headers["content-type"]) == (200, "video/mp4")
    assert whole.headers["accept-ranges"] == "bytes"
    part = send_request(app, "GET", f"/files/{BUILD}/link.mp4", LOCAL | {"range": "bytes=100-103"})
    assert (part.status, part.body) == (206, bytes([100, 101, 102, 103]))
    assert part.headers["content-range"] == "bytes 100-103/200"
    assert send_request(app, "HEAD", f"/files/{BUILD}/link.mp4").body == b""


@pytest.mark.parametrize("name", ["wide.png", "wide.jpg", "wide.webp"])
def test_inline_picture_is_as_wide_as_a_table(app: ASGIApp, root: Path, name: str) -> None:
    Image.new("RGB", (952, 100), "red").save(root / BUILD / name)
    address = f"/files/{BUILD}/{name}"
    whole, inline = send_request(app, "GET", address), send_request(app, "GET", f"{address}?inline")
    assert inline.headers["content-type"] == whole.headers["content-type"]
    sizes = [Image.open(io.BytesIO(each.body)).size for each in (whole, inline)]
    assert sizes == [(952, 100), (476, 50)]


def test_inline_picture_is_not_enlarged_and_animation_is_kept(app: ASGIApp, root: Path) -> None:
    small, second = Image.new("RGB", (40, 10), "red"), Image.new("RGB", (952, 10), "blue")
    small.save(root / BUILD / "small.png")
    Image.new("RGB", (952, 10), "red").save(root / BUILD / "film.webp", save_all=True, append_images=[second])
    for name in ("small.png", "film.webp"):
        address = f"/files/{BUILD}/{name}"
        inline = send_request(app, "GET", f"{address}?inline")
        assert inline.body == send_request(app, "GET", address).body


def test_pages_run_no_scripts(app: ASGIApp) -> None:
    report = send_request(app, "GET", f"/files/{BUILD}/report.html")
    card = send_request(app, "GET", f"/files/{BUILD}/card.md")
    for page in (report, card):
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "script-src" not in page.headers["content-security-policy"]
    assert b"<h1>Card</h1>" in card.body
    assert b"<td>1</td>" in card.body
    assert b"<script>" not in card.body


def test_folder_lists_its_names(app: ASGIApp) -> None:
    assert send_request(app, "GET", f"/files/{BUILD}").status == 307
    page = send_request(app, "GET", f"/files/{BUILD}/").body
    assert b'<a href="self%201.mp4">self 1.mp4</a>' in page
    assert b".hidden" not in page
    top = send_request(app, "GET", "/files/").body
    assert b'<a href="assets/">' in top
    assert b"dagster" not in top


@pytest.mark.parametrize(
    "location",
    [
        f"{BUILD}/.hidden",
        f"{BUILD}/escape.txt",
        f"{BUILD}/home.txt",
        f"{BUILD}/folder/outside.txt",
        f"{BUILD}/folder/",
        f"{BUILD}/missing.mp4",
        "dagster/dagster.yaml",
        "../outside.txt",
        "assets/../dagster/dagster.yaml",
        "assets//../../outside.txt",
        "/etc/passwd",
        ".building/x",
    ],
)
def test_nothing_else_is_reachable(app: ASGIApp, location: str) -> None:
    response = send_request(app, "GET", f"/files/{location}")
    assert response.status == 404
    assert b"secret" not in response.body


def test_only_reading_and_only_own_pages(app: ASGIApp) -> None:
    post = LOCAL | {"content-type": "application/json"}
    assert send_request(app, "POST", f"/files/{BUILD}/report.html", post).status == 405
    assert send_request(app, "GET", f"/files/{BUILD}/report.html", {"host": "evil.example"}).status == 403
    foreign = LOCAL | {"sec-fetch-site": "cross-site", "sec-fetch-dest": "video"}
    assert send_request(app, "GET", f"/files/{BUILD}/self 1.mp4", foreign).status == 403


def test_root_itself_is_a_location() -> None:
    assert require_served("") == ()


def test_tensorboard_shows_the_curves_of_a_run(app: ASGIApp, root: Path) -> None:
    from torch.utils.tensorboard.writer import SummaryWriter

    missing = send_request(app, "GET", "/tensorboard/default/")
    assert (missing.status, missing.body) == (404, b"no such run, or it has trained no stage yet")
    with SummaryWriter(
        str(root / ".building" / "stage2_pose" / "default" / "0123" / "tensorboard")
    ) as writer:
        writer.add_scalar("loss/pose", 0.5, 1)
    page = send_request(app, "GET", "/tensorboard/default/")
    assert page.status == 200
    assert b'<meta name="tb-relative-root"' in page.body
    runs = send_request(app, "GET", "/tensorboard/default/data/runs")
    assert json.loads(runs.body) == ["stage2_pose/."]
    foreign = LOCAL | {"origin": "https://evil.example", "content-type": "multipart/form-data; boundary=x"}
    assert send_request(app, "POST", "/tensorboard/default/data/runs", foreign).status == 403
