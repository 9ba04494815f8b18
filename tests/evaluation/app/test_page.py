"""What the page of `pdfgc app` answers, with a stand-in for the making of videos."""

import re
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event

import pytest
from upath import UPath

from evaluation.animation import animate
from evaluation.animation.request import AnimateOrder, AnimateProgress, AnimateReport, Strengths
from evaluation.app import page as web_page
from evaluation.app.page import FILES, PageSettings, free_path
from evaluation.app.server import bind
from evaluation.app.worker import UNTOLD
from storage.root import open_root
from tests.factories.head_files import fitted_axes, publish_toy_run
from tests.factories.page_server import Page, served

Progress = Callable[[AnimateProgress], None]


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uploaded files lie while the page is served."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def page(tmp_path: Path, uploads: Path) -> Generator[Page]:
    del uploads
    with served(PageSettings(open_root(str(tmp_path / "root")), tmp_path / "made", "cpu")) as page:
        yield page


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def stand_in(monkeypatch: pytest.MonkeyPatch, made: Callable[[AnimateOrder, Progress], None]) -> None:
    def stands_in(order: AnimateOrder, progress: Progress, root: UPath | None = None) -> AnimateReport:
        del root
        made(order, progress)
        order.output.parent.mkdir(exist_ok=True)
        order.output.write_bytes(b"0123456789")
        return AnimateReport(order.output, order.grid, "run 'toy'", 50, 32, 2.0, 4.0, ("no driver for pose",))

    monkeypatch.setattr(animate, "animate", stands_in)


@pytest.mark.usefixtures("toy_presets")
def test_the_trained_runs_and_the_strengths_can_be_chosen(tmp_path: Path, page: Page) -> None:
    publish_toy_run(tmp_path / "root", "mine")
    told = page.ask("GET", "/choices").json
    assert told["runs"] == ["mine"]
    assert told["outputs"] == str(tmp_path / "made")
    assert [entry["name"] for entry in told["strengths"]] == list(vars(Strengths()))
    assert page.ask("GET", f"/checkpoint?name={tmp_path}").json == {"released": True, "apart": True}
    # The toy run's eye stage measured nothing.
    for name in ("mine", "", "nobody", "no/folder", "no%20run"):
        assert page.ask("GET", f"/checkpoint?name={name}").json == {"released": False, "apart": False}
    publish_toy_run(tmp_path / "root", "able", eye_axes=fitted_axes())
    assert page.ask("GET", "/checkpoint?name=able").json == {"released": False, "apart": True}


def test_a_video_is_made_and_the_uploaded_files_are_gone(
    tmp_path: Path, page: Page, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[AnimateOrder] = []
    seen: list[list[str]] = []

    def look(order: AnimateOrder, _: Progress) -> None:
        orders.append(order)
        seen.append(files_in(uploads))

    stand_in(monkeypatch, look)
    files = {"appearance": page.send("my%20face.png"), "lip": page.send("talk.mp4", b"video")}
    files |= {"pose": files["lip"]}  # one file for two controls
    strengths = {"lip": 1.5, "pose": 0.25, "eye": 1, "expression": 0}
    begun = page.order(files=files, strengths=strengths, checkpoint="mine", grid=True, seconds=2)
    assert begun.status == 202
    told = page.wait(begun.json["name"])
    assert told["state"] == "made"
    assert seen == [["my face.png", "talk.mp4"]]
    assert files_in(uploads) == []
    (order,) = orders
    assert order.output.parent == tmp_path / "made"
    assert re.fullmatch(r"\d{8}-\d{6}-my_face", order.output.stem)
    assert order.grid == order.output.with_name(f"{order.output.stem}-side-by-side.mp4")
    assert (order.checkpoint, order.seconds, order.device) == ("mine", 2.0, "cpu")
    assert order.strengths == Strengths(1.5, 0.25, 1.0, 0.0)
    assert order.pose == order.lip != order.appearance
    assert order.eye is None
    assert told["report"]["made"] == "2.00 s, 50 frames of 32 px by run 'toy', 12.5 frames a second"
    assert told["report"]["notes"] == ["no driver for pose"]
    part = page.ask("GET", f"/videos/{told['name']}/video.mp4", Range="bytes=2-4")
    assert (part.status, part.body) == (206, b"234")
    assert part.headers["content-type"] == "video/mp4"
    assert page.ask("GET", f"/videos/{told['name']}/grid.mp4").status == 404  # the stand-in wrote none


def test_what_went_wrong_is_one_line_with_the_files_own_name(
    page: Page, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(order: AnimateOrder, _: Progress) -> None:
        raise ValueError(f"{order.appearance}: no face was found in it\nmore")

    stand_in(monkeypatch, refuse)
    name = page.order(files={"appearance": page.send("black.png")}).json["name"]
    told = page.wait(name)
    assert (told["state"], told["error"]) == ("failed", "black.png: no face was found in it")
    assert files_in(uploads) == []
    assert page.ask("GET", f"/videos/{name}/video.mp4").status == 404


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_nobody_foresaw_does_not_leave_the_page_waiting(
    page: Page, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(_order: AnimateOrder, _progress: Progress) -> None:
        raise ZeroDivisionError

    stand_in(monkeypatch, fall)
    told = page.wait(page.order(files={"appearance": page.send("face.png")}).json["name"])
    assert (told["state"], told["error"]) == ("failed", UNTOLD)
    assert files_in(uploads) == []


def test_one_video_at_a_time_and_it_can_be_stopped(
    page: Page, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Event()

    def go_on(_: AnimateOrder, progress: Progress) -> None:
        for done in range(100_000):
            progress(AnimateProgress("making frames", done, 100_000))
            begun.set()
            time.sleep(0.002)

    stand_in(monkeypatch, go_on)
    name = page.order(files={"appearance": page.send("face.png")}).json["name"]
    assert begun.wait(60)
    told = page.ask("GET", f"/videos/{name}").json
    assert told["state"] == "making"
    assert (told["progress"]["step"], told["progress"]["total"]) == ("making frames", 100_000)
    second = page.order(files={"appearance": page.send("second.png")})
    assert second.status == 409
    assert second.json["error"] == "a video is being made: wait for it, or stop it"
    assert files_in(uploads) == ["face.png"]
    assert page.ask("DELETE", f"/videos/{name}").status == 200
    assert page.wait(name)["state"] == "stopped"
    assert files_in(uploads) == []
    third = page.order(files={"appearance": page.send("face.png")})
    assert third.status == 202  # and the end of the server stops it


def test_an_order_that_cannot_be_is_one_line(page: Page, uploads: Path) -> None:
    lost = page.order(files={"appearance": "0" * 32})
    assert (lost.status, lost.json["error"]) == (400, "a file of the order is gone: drop it again")
    outside = page.order(files={"appearance": "../../etc"})
    assert outside.json["error"] == "the order cannot be read: no files were sent as ['../../etc']"
    faceless = page.order(files={"lip": page.send("talk.wav")})
    assert faceless.json["error"] == "a portrait is needed: drop a picture with one face"
    strong = page.order(files={"appearance": page.send("face.png")}, strengths={"pose": 9})
    assert strong.json["error"] == "strengths go from 0 to 5, got {'pose': 9.0}"
    assert page.ask("POST", "/videos", b"{", content_type="application/json").status == 400
    assert page.ask("PUT", "/files?name=", b"x").json["error"] == "the file has no name"
    assert page.ask("GET", "/videos/nobody").status == 404
    assert files_in(uploads) == []


def test_other_sites_get_no_hold_of_it(page: Page, uploads: Path) -> None:
    assert page.ask("GET", "/choices", Host="attacker.example").status == 400
    assert page.ask("POST", "/videos", b"{}", content_type="text/plain").status == 415
    assert page.ask("PUT", "/files?name=../../face.png", b"x").status == 200
    assert [path.name for path in uploads.glob("*/*/*")] == ["face.png"]
    assert "access-control-allow-origin" not in page.ask("GET", "/choices").headers


def test_the_page_asks_no_other_machine_for_anything(page: Page) -> None:
    for path, file in (("/", "page.html"), ("/page.css", "page.css"), ("/page.js", "page.js")):
        answer = page.ask("GET", path)
        assert answer.body == (FILES / file).read_bytes()
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert re.findall(rb"https?:|@import|url\(|[\"']//", answer.body) == []


def test_files_that_nobody_ordered_with_are_cleared(
    page: Page, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, lambda _order, _progress: None)
    page.send("forgotten.png")
    page.wait(page.order(files={"appearance": page.send("face.png")}).json["name"])
    assert files_in(uploads) == ["forgotten.png"]  # a page may be about to order with it
    monkeypatch.setattr(web_page, "ABANDONED_SECONDS", -1.0)
    page.wait(page.order(files={"appearance": page.send("face.png")}).json["name"])
    assert files_in(uploads) == []


def test_the_end_of_the_server_leaves_no_upload(tmp_path: Path, uploads: Path) -> None:
    with served(PageSettings(open_root(str(tmp_path / "root")), tmp_path / "made")) as page:
        page.send("face.png")
        assert files_in(uploads) == ["face.png"]
    assert list(uploads.iterdir()) == []


def test_videos_of_one_second_do_not_replace_each_other(tmp_path: Path) -> None:
    first = free_path(tmp_path, "…")
    first.write_bytes(b"")
    assert re.fullmatch(r"\d{8}-\d{6}-_\.mp4", first.name)
    assert free_path(tmp_path, "…") != first


def test_a_port_that_is_taken_is_said_with_the_way_out() -> None:
    with bind(0) as listening:
        listening.listen()
        port = listening.getsockname()[1]
        with pytest.raises(
            ValueError, match=rf"port {port}: Address already in use; take another with --port"
        ):
            bind(port)
