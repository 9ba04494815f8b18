"""Weights settings: values resolved to verified files, and what is published about them."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from weights import catalog as pretrained
from weights.catalog import PRETRAINED
from weights.folder import overview
from weights.resolve import (
    accept_licence,
    fetch_weights,
    licence_record,
    resolve_config,
    resolve_files,
    resolve_weights,
    weights_path,
    write_pretrained_weights,
)

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of weights, and a list in which every file is `CONTENT`."""
    for name, row in PRETRAINED.items():
        files = tuple(replace(file, size_bytes=len(CONTENT), sha256=SHA256) for file in row.files)
        monkeypatch.setitem(pretrained.PRETRAINED, name, replace(row, files=files))
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("PDFGC_ACCEPT_LICENCES", raising=False)
    return tmp_path


def put(folder: Path, name: str) -> None:
    (folder / name).mkdir(exist_ok=True)
    for file in PRETRAINED[name].files:
        (folder / name / file.name).write_bytes(CONTENT)


def test_weights_path_is_the_file_or_the_folder(folder: Path) -> None:
    put(folder, "fid_inception")
    put(folder, "pdfgc_official")
    assert weights_path("fid_inception") == folder / "fid_inception/pt_inception-2015-12-05-6726825d.pth"
    assert weights_path("pdfgc_official") == folder / "pdfgc_official"


def test_licence_record_holds_acceptance_and_digests(folder: Path) -> None:
    put(folder, "emonet_8")
    with pytest.raises(ValueError, match="emonet_8: the licence must be accepted once"):
        licence_record("emonet_8")
    accept_licence("emonet_8")
    record = licence_record("emonet_8")
    assert (record.name, record.licence, record.commercial) == ("emonet_8", "CC-BY-NC-ND-4.0", "no")
    assert record.acceptance is not None
    assert record.acceptance.how == "flag"
    assert record.sha256 == {"emonet_8.pth": SHA256}


def test_resolve_weights_takes_name_or_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "syncnet_v2")
    monkeypatch.setenv("PDFGC_ACCEPT_LICENCES", "syncnet_v2")
    named = resolve_weights("syncnet_v2", "syncnet_weights")
    assert named is not None
    assert (named.path, named.sha256, named.weights) == (
        folder / "syncnet_v2/syncnet_v2.model", SHA256, "syncnet_v2",
    )  # fmt: skip
    own = resolve_weights(str(named.path), "syncnet_weights")
    assert own is not None
    assert (own.sha256, own.weights, own.record) == (SHA256, None, None)
    assert resolve_weights("", "syncnet_weights") is None


@pytest.mark.usefixtures("folder")
def test_resolve_weights_errors_are_one_line() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^vgg19_weights: no file vgg20, and no weights of that name; .* vgg19$"
    ):
        resolve_weights("vgg20", "vgg19_weights")
    with pytest.raises(
        FileNotFoundError, match=r"^vgg19 is missing: .* run: pdfgc weights fetch vgg19 --accept-lic"
    ):
        resolve_weights("vgg19", "vgg19_weights")
    with pytest.raises(ValueError, match=r"^csim_weights does not take alexnet; it takes buffalo_l$"):
        resolve_weights("alexnet", "csim_weights")


def test_resolve_weights_refuses_a_web_page(folder: Path) -> None:
    page = folder / "epoch_20.pth"
    page.write_text("\n<!DOCTYPE html><html>Quota exceeded</html>")
    with pytest.raises(
        ValueError, match=r"^deep3d_weights: .*epoch_20\.pth is a web page, not weights"
    ) as caught:
        resolve_weights(str(page), "deep3d_weights")
    assert len(str(caught.value).splitlines()) == 1


def test_truncated_file_is_refused_before_it_is_recorded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = PRETRAINED["deep3d_facerecon"]  # its digest is not in the catalog: the first use is trusted
    files = tuple(replace(file, size_bytes=None, sha256=None) for file in row.files)
    monkeypatch.setitem(pretrained.PRETRAINED, row.name, replace(row, files=files))
    whole = folder / "whole.pth"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(5000))
    path = folder / "deep3d_facerecon/epoch_20.pth"
    path.parent.mkdir()
    path.write_bytes(whole.read_bytes()[:-20])
    accept_licence("deep3d_facerecon")
    for value in ("deep3d_facerecon", str(path)):
        with pytest.raises(
            ValueError, match=r"epoch_20\.pth is truncated: .* run: pdfgc weights fetch deep3d_facerecon$"
        ):
            resolve_weights(value, "deep3d_weights")
    whole.replace(path)
    found = resolve_weights("deep3d_facerecon", "deep3d_weights")
    assert found is not None
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_resolve_weights_selects_the_file_for_the_setting(folder: Path) -> None:
    accept_licence("buffalo_l")
    (folder / "buffalo_l/w600k_r50.onnx").write_bytes(CONTENT)
    found = resolve_weights("buffalo_l", "csim_weights")
    assert found is not None
    assert found.record is not None
    assert found.record.sha256 == {"w600k_r50.onnx": SHA256}


def test_published_weights_hold_licence_but_no_path(folder: Path) -> None:
    put(folder, "fid_inception")
    accept_licence("buffalo_l")
    (folder / "buffalo_l/w600k_r50.onnx").write_bytes(CONTENT)
    files = [
        resolve_weights("buffalo_l", "csim_weights"),
        None,
        resolve_weights(str(weights_path("fid_inception")), "fid_weights"),
    ]
    work = folder / "work"
    write_pretrained_weights(work, files)
    text = (work / "pretrained_weights.json").read_text()
    named, own = json.loads(text)
    assert named["setting"] == "csim_weights"
    assert named["weights"] == "buffalo_l"
    assert named["licence"]["acceptance"]["accepted_by"]
    assert own == {"setting": "fid_weights", "sha256": SHA256, "weights": None, "licence": None}
    assert str(folder) not in text


def test_write_pretrained_weights_without_weights(folder: Path) -> None:
    write_pretrained_weights(folder, [None])
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("folder")
def test_fetch_weights_asks_torchvision_for_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str | None] = []

    def fake_fetch(row: pretrained.PretrainedWeights, *_: object) -> tuple[()]:
        urls.extend(file.url for file in row.files)
        return ()

    monkeypatch.setattr("weights.fetch.fetch", fake_fetch)
    fetch_weights("vgg19", lambda *_: None)
    fetch_weights("emonet_5", lambda *_: None)
    assert [url.rpartition("/")[2] for url in urls if url] == ["vgg19-dcbb9e9d.pth", "emonet_5.pth"]


def test_overview_checks_names_and_sizes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(pretrained.PRETRAINED.values())
    monkeypatch.setattr("weights.folder.ALL_WEIGHTS", tuple(rows))
    put(folder, "face_landmarker")
    (folder / "buffalo_l").mkdir()
    (folder / "buffalo_l/det_10g.onnx").write_bytes(b"short")
    path, states = overview()
    assert path == str(folder)
    by_name = {row["name"]: row["state"] for row in states}
    assert by_name["face_landmarker"] == "present"
    assert by_name["vgg19"] == "missing"
    assert by_name["buffalo_l"] == "w600k_r50.onnx is missing; det_10g.onnx has 5 bytes, expected 7"


def test_resolve_files_takes_the_name_or_folder_of_several(folder: Path) -> None:
    put(folder, "pdfgc_official")
    named = resolve_files("pdfgc_official", "start_from")
    assert [file.path.name for file in named] == [
        "appearance_model.pth", "motion_model.pth", "audio_model.pth", "generator_model.pth",
    ]  # fmt: skip
    assert all(file.record is not None and len(file.record.sha256) == 4 for file in named)
    given = resolve_files(str(folder / "pdfgc_official"), "start_from")
    assert [(file.path, file.weights) for file in given] == [(file.path, None) for file in named]
    (folder / "pdfgc_official/motion_model.pth").unlink()
    with pytest.raises(FileNotFoundError, match=r"start_from: no motion_model\.pth or motion_mode\.pth in "):
        resolve_files(str(folder / "pdfgc_official"), "start_from")
    assert resolve_files("", "start_from") == ()


def test_resolve_config_resolves_every_weights_setting(folder: Path) -> None:
    put(folder, "fid_inception")
    config = SimpleNamespace(fid_weights="fid_inception", csim_weights="", steps=3)
    (file,) = resolve_config(config)
    assert (file.setting, file.sha256) == ("fid_weights", SHA256)
    assert resolve_config(config, ["csim_weights"]) == ()
    config.csim_weights = "vgg19"
    with pytest.raises(ValueError, match="csim_weights does not take vgg19; it takes buffalo_l"):
        resolve_config(config)
