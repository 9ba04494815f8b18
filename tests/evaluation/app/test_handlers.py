"""Request handlers of `pdfgc app`, with a fake renderer."""

import io
import json
import re
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event

import pytest
from PIL import Image
from upath import UPath

from evaluation.animation import animate, checkpoint_abilities
from evaluation.animation.checkpoint_abilities import list_checkpoints
from evaluation.animation.limited_reading import LimitedReader
from evaluation.animation.request import AnimateProgress, AnimateReport, AnimateRequest, Strengths
from evaluation.app import examples
from evaluation.app.handlers import STATIC_FOLDER, AppSettings, free_output_path
from evaluation.app.parsing import ROLES
from evaluation.app.server import bind
from evaluation.app.uploads import MIB, UploadLimits, UploadRefusedError, UploadStore
from evaluation.app.worker import UNEXPECTED_ERROR
from preprocessing.worker_limits import WorkerLimits
from storage.root import open_root
from tests.factories.evaluation.app_server import AppClient, HttpResponse, serve_app
from tests.factories.evaluation.head_files import fitted_axes, publish_toy_run, write_released_tiny
from tests.factories.preprocessing.videos import face_pictures
from tests.factories.training.stages import TOY_SIDE_PX

Progress = Callable[[AnimateProgress], None]


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Parent of the temporary upload folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def app(tmp_path: Path, uploads: Path) -> Generator[AppClient]:
    del uploads
    with serve_app(AppSettings(open_root(str(tmp_path / "root")), tmp_path / "videos", "cpu")) as app:
        yield app


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def fake_animate(monkeypatch: pytest.MonkeyPatch, body: Callable[[AnimateRequest, Progress], None]) -> None:
    def fake(
        request: AnimateRequest, progress: Progress, root: UPath, limited: LimitedReader
    ) -> AnimateReport:
        del root, limited
        body(request, progress)
        request.output.parent.mkdir(exist_ok=True)
        request.output.write_bytes(b"0123456789")
        return AnimateReport(
            request.output, request.grid, "run 'toy'", 50, 32, 2.0, 4.0, ("no driver for pose",)
        )

    monkeypatch.setattr(animate, "animate", fake)


@pytest.mark.usefixtures("toy_presets")
def test_options_list_checkpoints_and_strengths(
    tmp_path: Path, app: AppClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_abilities, "STARTER_FILE", tmp_path / "starter.safetensors")
    publish_toy_run(tmp_path / "root", "mine")
    options = app.request("GET", "/options").json
    assert options["runs"] == ["mine"]
    (tmp_path / "starter.safetensors").touch()
    assert list_checkpoints(open_root(str(tmp_path / "root"))) == ["starter", "mine"]
    assert options["outputs"] == str(tmp_path / "videos")
    assert [entry["name"] for entry in options["strengths"]] == list(vars(Strengths()))
    write_released_tiny(tmp_path / "released")
    assert app.request("GET", f"/checkpoint?name={tmp_path / 'released'}").json == {
        "released": True,
        "separate_gaze": True,
        "side_px": 224,
    }
    # The eye stage of the toy run has no fitted gaze axes.
    for name in ("mine", "", "nobody", "no/folder", "no%20run"):
        assert app.request("GET", f"/checkpoint?name={name}").json == {
            "released": False,
            "separate_gaze": False,
            "side_px": TOY_SIDE_PX if name == "mine" else None,
        }
    publish_toy_run(tmp_path / "root", "able", eye_axes=fitted_axes())
    able = app.request("GET", "/checkpoint?name=able").json
    assert able == {"released": False, "separate_gaze": True, "side_px": TOY_SIDE_PX}


@pytest.mark.usefixtures("toy_presets")
def test_create_video_renders_and_removes_the_uploads(
    tmp_path: Path, app: AppClient, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_toy_run(tmp_path / "root", "mine")
    requests: list[AnimateRequest] = []
    uploaded: list[list[str]] = []

    def record(request: AnimateRequest, _: Progress) -> None:
        requests.append(request)
        uploaded.append(files_in(uploads))

    fake_animate(monkeypatch, record)
    files = {"appearance": app.upload("my%20face.png"), "lip": app.upload("talk.mp4", b"video")}
    files |= {"pose": files["lip"]}  # one file for two controls
    strengths = {"lip": 1.5, "pose": 0.25, "eye": 1, "expression": 0}
    created = app.create_video(files=files, strengths=strengths, checkpoint="mine", grid=True, seconds=2)
    assert created.status == 202
    job = app.wait(created.json["name"])
    assert job["state"] == "done"
    assert uploaded == [["my face.png", "talk.mp4"]]
    assert files_in(uploads) == []
    (request,) = requests
    assert request.output.parent == tmp_path / "videos"
    assert re.fullmatch(r"\d{8}-\d{6}-my_face", request.output.stem)
    assert request.grid == request.output.with_name(f"{request.output.stem}-side-by-side.mp4")
    assert (request.checkpoint, request.seconds, request.device) == ("mine", 2.0, "cpu")
    assert request.strengths == Strengths(lip=1.5, pose=0.25, eye=1.0, expression=0.0)
    assert request.pose == request.lip != request.appearance
    assert request.eye is None
    assert job["report"]["summary"] == "2.00 s, 50 frames at 32 px, run 'toy', 12.5 frames/s"
    assert job["report"]["notes"] == ["no driver for pose"]
    part = app.request("GET", f"/videos/{job['name']}/video.mp4", Range="bytes=2-4")
    assert (part.status, part.body) == (206, b"234")
    assert part.headers["content-type"] == "video/mp4"
    assert app.request("GET", f"/videos/{job['name']}/grid.mp4").status == 404  # the fake wrote none


def test_failed_job_has_a_one_line_error_with_the_file_name(
    app: AppClient, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: AnimateRequest, _: Progress) -> None:
        raise ValueError(f"{request.appearance}: no face was found in it\nmore")

    fake_animate(monkeypatch, fail)
    name = app.create_video(files={"appearance": app.upload("black.png")}).json["name"]
    job = app.wait(name)
    assert (job["state"], job["error"]) == ("failed", "black.png: no face was found in it")
    assert files_in(uploads) == []
    assert app.request("GET", f"/videos/{name}/video.mp4").status == 404


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_unexpected_exception_fails_the_job(
    app: AppClient, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_request: AnimateRequest, _progress: Progress) -> None:
        raise ZeroDivisionError

    fake_animate(monkeypatch, crash)
    job = app.wait(app.create_video(files={"appearance": app.upload("face.png")}).json["name"])
    assert (job["state"], job["error"]) == ("failed", UNEXPECTED_ERROR)
    assert files_in(uploads) == []


def test_worker_runs_one_job_and_can_cancel_it(
    app: AppClient, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Event()

    def render_slowly(_: AnimateRequest, progress: Progress) -> None:
        for done in range(100_000):
            progress(AnimateProgress("rendering frames", done, 100_000))
            started.set()
            time.sleep(0.002)

    fake_animate(monkeypatch, render_slowly)
    name = app.create_video(files={"appearance": app.upload("face.png")}).json["name"]
    assert started.wait(60)
    job = app.request("GET", f"/videos/{name}").json
    assert job["state"] == "running"
    assert (job["progress"]["step"], job["progress"]["total"]) == ("rendering frames", 100_000)
    second = app.create_video(files={"appearance": app.upload("second.png")})
    assert second.status == 409
    assert second.json["error"] == "another video is being rendered: wait for it or cancel it"
    assert files_in(uploads) == ["face.png"]
    other_page = AppClient(app.address)
    refused = other_page.request("DELETE", f"/videos/{name}")
    assert (refused.status, refused.json["error"]) == (
        403,
        "this video was requested by another page, which alone can cancel it",
    )
    assert other_page.request("GET", "/options").json["running"] is None
    assert app.request("GET", "/options").json["running"] == name
    app.request("DELETE", f"/pages/{app.page}")  # its uploads stay as long as they are used
    assert files_in(uploads) == ["face.png"]
    assert app.request("GET", f"/videos/{name}").json["state"] == "running"
    assert app.request("DELETE", f"/videos/{name}").status == 200
    assert app.wait(name)["state"] == "cancelled"
    assert files_in(uploads) == []
    third = app.create_video(files={"appearance": app.upload("face.png")})
    assert third.status == 202  # cancelled at shutdown


def test_invalid_requests_have_one_line_errors(app: AppClient, uploads: Path) -> None:
    expired = app.create_video(files={"appearance": "0" * 32})
    assert (expired.status, expired.json["error"]) == (400, "an uploaded file has expired: add it again")
    invalid_id = app.create_video(files={"appearance": "../../etc"})
    assert invalid_id.json["error"] == "invalid request: upload ids must be 32 hex digits, got ['../../etc']"
    no_portrait = app.create_video(files={"lip": app.upload("talk.wav")})
    assert no_portrait.json["error"] == "portrait is missing: add an image with one face"
    too_strong = app.create_video(files={"appearance": app.upload("face.png")}, strengths={"pose": 9})
    assert too_strong.json["error"] == "strengths.pose must be <= 5, got 9"
    assert app.request("POST", "/videos", b"{", content_type="application/json").status == 400
    assert app.request("PUT", "/files?name=", b"x").json["error"] == "file name is missing"
    assert app.request("GET", "/videos/nobody").status == 404
    assert files_in(uploads) == []


def test_requests_of_other_origins_are_refused(app: AppClient, uploads: Path) -> None:
    assert app.request("GET", "/options", Host="attacker.example").status == 403
    assert app.request("GET", "/options", Origin="http://127.0.0.1:1").status == 403
    for site in ("cross-site", "same-site"):
        assert app.request("DELETE", "/videos/any", sec_fetch_site=site).status == 403
    assert app.request("POST", "/videos", b"{}", content_type="text/plain").status == 415
    assert app.request("PUT", "/files?name=../../face.png", b"x").status == 200
    assert [path.name for path in uploads.glob("*/*/*")] == ["face.png"]
    assert "access-control-allow-origin" not in app.request("GET", "/options").headers


def test_page_loads_nothing_from_other_hosts(app: AppClient) -> None:
    for path, file in (
        ("/", "page.html"),
        ("/page.css", "page.css"),
        ("/page.js", "page.js"),
        ("/puppet.js", "puppet.js"),
    ):
        response = app.request("GET", path)
        assert response.body == (STATIC_FOLDER / file).read_bytes()
        assert response.headers["content-security-policy"].startswith("default-src 'self';")
        assert re.findall(rb"https?:|@import|url\(|[\"']//", response.body) == []


def test_checkpoint_tells_nothing_about_other_files(tmp_path: Path, app: AppClient) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "file.safetensors").write_bytes(b"no weights")
    (tmp_path / "folder.safetensors").mkdir()
    there = [tmp_path / name for name in ("folder", "closed/x", "file.safetensors", "folder.safetensors")]
    names = ["/etc", *map(str, there), str(tmp_path / "absent"), str(tmp_path / "absent.safetensors")]
    names += ["~", "~nobody-of-this-name/x", "..", "../mine", "%00", "x" * 5000, "%ff"]
    answers = {app.request("GET", f"/checkpoint?name={name}").body for name in names}
    assert answers == {b'{"released":false,"separate_gaze":false,"side_px":null}'}
    errors: set[str] = set()
    for name in ("/etc", *map(str, there), str(tmp_path / "absent")):
        response = app.create_video(files={"appearance": app.upload("face.png")}, checkpoint=name)
        assert response.status == 400
        errors.add(response.json["error"].replace(repr(name), "NAME"))
    assert errors == {
        "NAME is neither a trained run, nor an exported model, nor a folder with the four released files"
    }


def a_face() -> bytes:
    (face,) = face_pictures(1)
    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "PNG")
    return buffer.getvalue()


def test_crop_of_an_upload_is_what_the_networks_see(app: AppClient) -> None:
    response = app.request("GET", f"/files/{app.upload('face.png', a_face())}/crop")
    assert (response.status, response.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(response.body)).size == (224, 224)


def test_crop_of_a_file_without_a_face_says_why(app: AppClient) -> None:
    response = app.request("GET", f"/files/{app.upload('notes.avi', b'no video')}/crop")
    assert response.status == 400
    assert response.json["error"].startswith("notes.avi: its content is in none of the supported formats")


def test_files_that_take_too_much_end_neither_the_app_nor_its_reader(tmp_path: Path, uploads: Path) -> None:
    del uploads
    settings = AppSettings(
        open_root(str(tmp_path / "root")),
        tmp_path / "videos",
        "cpu",
        reading=WorkerLimits(cpu_hours=1e-6),
    )
    with serve_app(settings) as app:
        for _ in range(2):
            response = app.request("GET", f"/files/{app.upload('face.png', a_face())}/crop")
            assert response.status == 400
            assert response.json["error"].startswith("face.png: reading it was ended: reading took more")
        puppet = post(app, "/puppet", file=app.upload("face.png", a_face()), checkpoint="starter")
        assert puppet.json["error"].startswith("face.png: reading it was ended")
        files = {"appearance": app.upload("face.png", a_face())}
        name = app.create_video(files=files, checkpoint="starter", seconds=1.0).json["name"]
        assert app.wait(name)["error"].startswith("face.png: reading it was ended")
    assert not list(tmp_path.glob("videos/*"))


def test_crop_is_for_the_page_that_uploaded(app: AppClient) -> None:
    upload = app.upload("face.png")
    other = AppClient(app.address)
    assert other.request("GET", f"/files/{upload}/crop").status == 404
    assert other.request("GET", f"/files/{'0' * 32}/crop").status == 404


def test_examples_are_rendered_when_asked_for(
    app: AppClient, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "CORPUS", examples.CORPUS.replace(seconds_per_video=0.4, side_px=64))
    offered = app.request("GET", "/options").json["examples"]
    assert [example["title"] for example in offered] == ["Speech", "Speech and head", "Everything"]
    assert {role for example in offered for role in example["files"]} == set(ROLES)
    names = {name for example in offered for name in example["files"].values()}
    bodies = {name: app.request("GET", f"/examples/{name}") for name in sorted(names)}
    assert {response.status for response in bodies.values()} == {200}
    assert Image.open(io.BytesIO(bodies["portrait.png"].body)).size == (64, 64)
    assert app.request("GET", "/examples/corpus").status == 404
    (folder,) = uploads.glob("pdfgc-examples*")
    assert (folder / "corpus").is_dir()


def test_puppet_renders_the_latest_portrait_of_its_page(app: AppClient) -> None:
    started = post(app, "/puppet", file=app.upload("face.png", a_face()), checkpoint="starter")
    assert (started.status, started.json) == (200, {"side_px": 96})
    pictures = [post(app, "/puppet/frame", yaw=yaw) for yaw in (0, 20, 0)]
    assert Image.open(io.BytesIO(pictures[0].body)).size == (96, 96)
    assert pictures[0].body == pictures[2].body != pictures[1].body
    assert post(app, "/puppet/frame", yaw=90).json["error"] == "yaw must be <= 40, got 90"
    assert post(AppClient(app.address), "/puppet/frame", yaw=0).status == 404


def test_puppet_needs_a_portrait_and_a_checkpoint(app: AppClient) -> None:
    assert post(app, "/puppet/frame").status == 404
    assert post(app, "/puppet", file="0" * 32, checkpoint="starter").status == 404
    nobody = post(app, "/puppet", file=app.upload("face.png"), checkpoint="nobody")
    assert nobody.json["error"] == "'nobody' is no checkpoint that can move a portrait"


def post(app: AppClient, path: str, **body: object) -> HttpResponse:
    return app.request("POST", path, json.dumps(body).encode(), content_type="application/json")


def test_checkpoint_says_its_resolution(app: AppClient) -> None:
    assert app.request("GET", "/checkpoint?name=starter").json["side_px"] == 96


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b'"text"', b"null", b"1", b"{}", b"\xff", b"[" * 60_000, b'{"files": []}'),
        *(b'{"files": {"appearance": 3}}', b'{"files": {"appearance": {}}}', b'{"files": {"lip": null}}'),
        b'{"files": {"appearance": "\\ud800"}}',
    ],
)
def test_malformed_render_requests_are_400(app: AppClient, body: bytes) -> None:
    response = app.request("POST", "/videos", body, content_type="application/json")
    assert response.status == 400
    assert response.json["error"].startswith("invalid request: ")


@pytest.mark.parametrize(
    "values",
    [
        *({"checkpoint": 3}, {"checkpoint": None}, {"checkpoint": "\ud800"}, {"checkpoint": "\0"}),
        *({"strengths": []}, {"strengths": {"lip": "much"}}, {"strengths": {"nose": 1}}, {"strengths": None}),
        *({"seconds": -1}, {"seconds": "long"}, {"seconds": float("nan")}, {"seconds": float("inf")}),
    ],
)
def test_malformed_values_are_400(app: AppClient, uploads: Path, values: dict[str, object]) -> None:
    response = app.create_video(files={"appearance": app.upload("face.png")}, **values)
    assert response.status == 400
    assert response.json["error"].isprintable()
    assert files_in(uploads) == []


def test_requests_without_page_or_too_long_are_refused(app: AppClient, uploads: Path) -> None:
    assert app.request("PUT", "/files?name=face.png", b"x", page_id="").status == 400
    assert app.request("POST", "/videos", b"{}", content_type="application/json", page_id="x").status == 400
    long = b'{"files": {}, "checkpoint": "' + b"x" * (1 << 16) + b'"}'
    assert app.request("POST", "/videos", long, content_type="application/json").status == 413
    assert app.request("DELETE", "/videos/nobody").status == 404
    assert files_in(uploads) == []


def test_file_names_are_stored_without_control_characters(app: AppClient, uploads: Path) -> None:
    for name in ("%00", "a%1b[2J%0a.png", "caf%C3%A9.png", "%ff.png"):
        assert app.request("PUT", f"/files?name={name}", b"x").status == 200
    assert files_in(uploads) == sorted([r"\x00", r"a\x1b[2J\n.png", "café.png", "\ufffd.png"])
    assert app.request("PUT", "/files?name=..", b"x").status == 400
    assert app.request("PUT", f"/files?name={'%E6%97%A5' * 200}.png", b"x").status == 200


def test_uploads_are_limited(tmp_path: Path, uploads: Path) -> None:
    limits = UploadLimits(file_mib=1, total_mib=2, files=4)
    with serve_app(AppSettings(open_root(str(tmp_path / "root")), tmp_path / "videos", limits=limits)) as app:
        assert app.request("GET", "/options").json["largest_upload_bytes"] == MIB
        too_large = app.request("PUT", "/files?name=talk.mp4", b"x" * (MIB + 1))
        assert (too_large.status, too_large.json["error"]) == (
            413,
            "talk.mp4 is larger than 1 MiB; restart pdfgc app with --max-upload-mib",
        )
        for page in (app, AppClient(app.address)):  # the pages share the space
            page.upload("talk.mp4", b"x" * MIB)
        full = app.request("PUT", "/files?name=face.png", b"x")
        assert full.status == 413
        assert full.json["error"].startswith("no room for face.png: uploaded files may take 2 MiB together;")
        app.upload("empty", b"")
        app.upload("empty", b"")
        assert (
            app.request("PUT", "/files?name=empty", b"").json["error"] == "there are 4 uploaded files already"
        )
        assert files_in(uploads) == ["empty", "empty", "talk.mp4", "talk.mp4"]
        app.request("DELETE", f"/pages/{app.page}")
        assert files_in(uploads) == ["talk.mp4"]
        app.upload("talk.mp4", b"x" * MIB)


@pytest.mark.usefixtures("uploads")
def test_unannounced_upload_is_limited() -> None:
    store = UploadStore(UploadLimits(file_mib=1))
    upload = store.create("page", "talk.mp4")
    store.write(upload, b"x" * MIB)
    with pytest.raises(UploadRefusedError, match=r"talk.mp4 is larger than 1 MiB"):
        store.write(upload, b"x")
    with pytest.raises(FileNotFoundError, match="expired"):
        store.use("page", [upload])  # not complete
    store.remove_unused("page")
    with pytest.raises(UploadRefusedError, match="the page of this upload is gone"):
        store.write(upload, b"x")
    store.close()


def test_page_cannot_use_uploads_of_another(app: AppClient, uploads: Path) -> None:
    files = {"appearance": app.upload("face.png")}
    foreign = AppClient(app.address).create_video(files=files)
    assert (foreign.status, foreign.json["error"]) == (400, "an uploaded file has expired: add it again")
    assert files_in(uploads) == ["face.png"]


def test_expired_uploads_are_removed(tmp_path: Path, uploads: Path) -> None:
    limits = UploadLimits(expiry_seconds=0.3)
    with serve_app(AppSettings(open_root(str(tmp_path / "root")), tmp_path / "videos", limits=limits)) as app:
        app.upload("forgotten.png")
        deadline = time.monotonic() + 30.0
        while files_in(uploads):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_uploads_of_a_killed_server_are_removed_at_start(
    tmp_path: Path, uploads: Path, app: AppClient
) -> None:
    app.upload("of-a-running-server.png")
    (uploads / "pdfgc-app-killed" / ("0" * 32)).mkdir(parents=True)
    (uploads / "pdfgc-app-killed" / ("0" * 32) / "face.png").write_bytes(b"x")
    (uploads / "pdfgc-app-link").symlink_to(tmp_path)
    with serve_app(AppSettings(open_root(str(tmp_path / "root")), tmp_path / "videos")):
        assert files_in(uploads) == ["of-a-running-server.png"]
    assert tmp_path.is_dir()


def test_shutdown_removes_uploads(tmp_path: Path, uploads: Path) -> None:
    with serve_app(AppSettings(open_root(str(tmp_path / "root")), tmp_path / "videos")) as app:
        app.upload("face.png")
        assert files_in(uploads) == ["face.png"]
    assert list(uploads.iterdir()) == []


def test_free_output_path_does_not_overwrite(tmp_path: Path) -> None:
    first = free_output_path(tmp_path, "…")
    first.write_bytes(b"")
    assert re.fullmatch(r"\d{8}-\d{6}-_\.mp4", first.name)
    assert free_output_path(tmp_path, "…") != first


def test_bind_to_a_used_port_names_the_option() -> None:
    with bind(0) as server_socket:
        server_socket.listen()
        port = server_socket.getsockname()[1]
        with pytest.raises(
            ValueError, match=rf"port {port}: Address already in use; choose another port with --port"
        ):
            bind(port)
