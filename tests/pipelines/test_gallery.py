"""The gallery's pages and API behind the guard: what is served, and that nothing else is."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp
from upath import UPath

from pipelines.operations.settings import OperationsSettings
from pipelines.web.gallery import PAGES
from pipelines.webserver import guarded
from preprocessing.orchestration.chosen_settings import adopt, keep_for_batch
from preprocessing.orchestration.steps import PreprocessingSettings
from storage.root import open_root
from tests.factories.evaluation.asgi import LOCAL, send_request
from tests.factories.preprocessing.gallery_root import BATCH, FIRST, REFUSED, publish_gallery_root


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    root = tmp_path_factory.mktemp("root")
    (root / "secret.txt").write_text("secret")
    publish_gallery_root(UPath(root), file='ann/<img src=x onerror="alert(1)">.mp4')
    return guarded(Starlette(), OperationsSettings(), UPath(root))


def get(app: ASGIApp, path: str) -> Any:
    response = send_request(app, "GET", f"/gallery/api/{path}")
    assert response.status == 200, response.body
    return json.loads(response.body)


def test_pages_run_their_own_scripts_alone(app: ASGIApp) -> None:
    assert send_request(app, "GET", "/gallery").headers["location"] == "/gallery/"
    page = send_request(app, "GET", "/gallery/")
    assert page.status == 200
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert b"<script>" not in page.body
    for name in PAGES:
        assert send_request(app, "GET", f"/gallery/static/{name}").status == 200
    script = (PAGES["common.js"].parent / "common.js").read_text()
    assert "innerHTML" not in script + (PAGES["player.js"]).read_text() + (PAGES["gallery.js"]).read_text()


def test_slices_are_json_with_names_as_they_are(app: ASGIApp) -> None:
    slices = get(app, "clips?person=ann")
    assert slices["rows"][0]["relative_path"] == 'ann/<img src=x onerror="alert(1)">.mp4'
    assert send_request(app, "GET", "/gallery/api/clips").headers["content-type"] == "application/json"
    assert get(app, "overview")["accepted"] == 2
    assert get(app, "anchors?state=refused")["total"] == 1
    assert get(app, "histograms/anchors")[0]["setting"] == "maximum_rest_error_px"
    assert get(app, "runs") == []


def test_clip_is_played_by_the_range_that_its_facts_name(app: ASGIApp) -> None:
    where = get(app, f"clip/{BATCH}/{FIRST}")["bytes"]
    ends = f"bytes={where['offset']}-{where['offset'] + where['size'] - 1}"
    part = send_request(app, "GET", f"/files/{where['location']}", LOCAL | {"range": ends})
    assert part.status == 206
    assert part.body.startswith(FIRST.encode())
    picture = send_request(app, "GET", f"/gallery/api/frame/{BATCH}/{REFUSED}?frame=1")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/jpeg")
    assert send_request(app, "GET", f"/gallery/api/sound/{BATCH}/{REFUSED}").body.startswith(b"RIFF")


def test_threshold_moved_back_takes_a_batch_s_own_setting_back(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_gallery_root(root)
    app = guarded(Starlette(), OperationsSettings(), root)
    keep_for_batch(root, BATCH, {"clips.minimum_sharpness": 12.0}, "run", PreprocessingSettings())
    assert get(app, "thresholds/clips?minimum_sharpness=8")["changes"] == {"clips.minimum_sharpness": 8}
    adopt(root, {"clips.minimum_sharpness": 12.0}, "run", "")
    assert get(app, "thresholds/clips?minimum_sharpness=8")["changes"] == {"clips.minimum_sharpness": 8}
    assert get(app, "thresholds/clips?minimum_sharpness=12")["changes"] == {}


def test_thresholds_become_settings_of_a_run(app: ASGIApp) -> None:
    moved = get(
        app, "thresholds/clips?minimum_sharpness=12&maximum_standing_frames=9&focus=minimum_sharpness"
    )
    assert (moved["kept"], moved["lost"]) == (1, 1)
    assert moved["changes"] == {"clips.maximum_standing_frames": 9, "clips.minimum_sharpness": 12}
    angle = get(app, "thresholds/anchors?maximum_gaze_error_rad=4")
    assert angle["changes"] == {"eye_anchors.maximum_gaze_error_rad": pytest.approx(0.0698132)}
    assert get(app, "thresholds/clips?minimum_sharpness=8")["changes"] == {}  # as it is
    refused = send_request(app, "GET", "/gallery/api/thresholds/clips?maximum_brightness=300")
    assert refused.status == 400
    assert json.loads(refused.body)["error"].startswith("clips.maximum_brightness must be <= 255")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("static/../gallery.py", 404),
        ("static/..%2fgallery.py", 404),
        ("static/%2e%2e", 404),
        ("api/frame/..%2f..%2f/secret.txt", 404),
        (f"api/frame/{BATCH}/..%2f..%2fsecret.txt", 404),
        (f"api/sound/{BATCH}/../../secret.txt", 404),
        (f"api/clip/{BATCH}/nobody", 404),
        (f"api/anchor/{BATCH}/99", 404),
        ("api/anchor/b9/0", 404),
        ("api/thresholds/x", 404),
        ("api/curves/x", 404),
        ("api/curves/stage1_motion", 400),  # no run has trained it
        ("api/clips?offset=-1", 400),
        ("api/clips?limit=1e9", 400),
        ("api/clips?label=yaw&low=nan", 400),
        (f"api/frame/{BATCH}/{FIRST}?frame=x", 400),
        ("api/thresholds/clips?minimum_sharpness=inf", 400),
    ],
)
def test_wrong_requests_are_refused(app: ASGIApp, path: str, status: int) -> None:
    response = send_request(app, "GET", f"/gallery/{path}")
    assert response.status == status
    assert b"secret" not in response.body.replace(b"secret.txt", b"")


def test_gallery_only_reads_and_only_for_own_pages(app: ASGIApp) -> None:
    post = LOCAL | {"content-type": "application/json"}
    for path in ("/gallery/", "/gallery/api/clips", "/gallery/api/thresholds/clips"):
        assert send_request(app, "POST", path, post, b"{}").status == 405
        assert send_request(app, "GET", path, {"host": "evil.example"}).status == 403
        foreign = LOCAL | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
        assert send_request(app, "GET", path, foreign).status == 403


def test_requests_write_nothing(tmp_path: Path) -> None:
    publish_gallery_root(UPath(tmp_path))
    app = guarded(Starlette(), OperationsSettings(), UPath(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for path in ("overview", "clips?label=yaw&low=0", "thresholds/clips?minimum_sharpness=1", "anchors"):
        get(app, path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_gallery_of_a_bucket_reads_by_range(bucket: str) -> None:
    root = open_root(f"{bucket}/root")
    publish_gallery_root(root)
    app = guarded(Starlette(), OperationsSettings(), root)
    assert get(app, "clips?state=accepted")["total"] == 2
    where = get(app, f"clip/{BATCH}/{FIRST}")["bytes"]
    part = send_request(app, "GET", f"/files/{where['location']}", LOCAL | {"range": "bytes=0-9"})
    assert (part.status, part.body) == (206, FIRST.encode()[:10])
    for path in (f"frame/{BATCH}/{REFUSED}", f"sound/{BATCH}/{REFUSED}", f"anchor/{BATCH}/2"):
        assert send_request(app, "GET", f"/gallery/api/{path}").status == 200
