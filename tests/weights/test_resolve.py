"""Outside weights by name: found in the folder, held to their terms, told in what is published."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from weights import catalog as pretrained
from weights import resolve as outside_weights
from weights.catalog import PRETRAINED
from weights.overview import overview
from weights.resolve import (
    accept_licence,
    fetch_weights,
    find_weights,
    licence_record,
    outside_file,
    write_outside_weights,
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


def test_a_set_of_one_file_is_the_file_and_of_several_the_folder(folder: Path) -> None:
    put(folder, "fid_inception")
    put(folder, "pdfgc_official")
    assert find_weights("fid_inception") == folder / "fid_inception/pt_inception-2015-12-05-6726825d.pth"
    assert find_weights("pdfgc_official") == folder / "pdfgc_official"


def test_a_record_tells_licence_acceptance_and_digests(folder: Path) -> None:
    put(folder, "emonet_8")
    with pytest.raises(ValueError, match="emonet_8: its licence must be accepted by name once"):
        licence_record("emonet_8")
    accept_licence("emonet_8")
    record = licence_record("emonet_8")
    assert (record.name, record.licence, record.commercial) == ("emonet_8", "CC-BY-NC-ND-4.0", "no")
    assert record.acceptance is not None
    assert record.acceptance.how == "flag"
    assert record.sha256 == {"emonet_8.pth": SHA256}


def test_a_setting_takes_a_name_or_a_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "syncnet_v2")
    monkeypatch.setenv("PDFGC_ACCEPT_LICENCES", "syncnet_v2")
    named = outside_file("syncnet_v2", "syncnet_weights")
    assert named is not None
    assert (named.path, named.sha256, named.weights) == (
        folder / "syncnet_v2/syncnet_v2.model", SHA256, "syncnet_v2",
    )  # fmt: skip
    own = outside_file(str(named.path), "syncnet_weights")
    assert own is not None
    assert (own.sha256, own.weights, own.record) == (SHA256, None, None)
    assert outside_file("", "syncnet_weights") is None


@pytest.mark.usefixtures("folder")
def test_what_a_setting_cannot_take_is_one_line() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^vgg19_weights: no file vgg20, and no weights of that name; .* vgg19$"
    ):
        outside_file("vgg20", "vgg19_weights")
    with pytest.raises(
        FileNotFoundError, match=r"^vgg19 is missing: .* run: pdfgc weights fetch vgg19 --accept-lic"
    ):
        outside_file("vgg19", "vgg19_weights")
    with pytest.raises(ValueError, match=r"^csim_weights does not take alexnet; it takes buffalo_l$"):
        outside_file("alexnet", "csim_weights")


def test_a_page_saved_in_the_place_of_a_file_of_ones_own_is_told_as_one(folder: Path) -> None:
    page = folder / "epoch_20.pth"
    page.write_text("\n<!DOCTYPE html><html>Quota exceeded</html>")
    with pytest.raises(
        ValueError, match=r"^deep3d_weights: .*epoch_20\.pth is a web page, not weights"
    ) as caught:
        outside_file(str(page), "deep3d_weights")
    assert len(str(caught.value).splitlines()) == 1


def test_a_torch_file_that_is_cut_short_is_told_before_its_digest_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = PRETRAINED["deep3d_facerecon"]  # nobody published its file's digest: the first one used is trusted
    files = tuple(replace(file, size_bytes=None, sha256=None) for file in row.files)
    monkeypatch.setitem(pretrained.PRETRAINED, row.name, replace(row, files=files))
    whole = folder / "whole.pth"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(5000))
    lying = folder / "deep3d_facerecon/epoch_20.pth"
    lying.parent.mkdir()
    lying.write_bytes(whole.read_bytes()[:-20])
    accept_licence("deep3d_facerecon")
    for told in ("deep3d_facerecon", str(lying)):
        with pytest.raises(
            ValueError, match=r"epoch_20\.pth is cut short: .* run: pdfgc weights fetch deep3d_facerecon$"
        ):
            outside_file(told, "deep3d_weights")
    whole.replace(lying)
    found = outside_file("deep3d_facerecon", "deep3d_weights")
    assert found is not None
    assert found.sha256 == hashlib.sha256(lying.read_bytes()).hexdigest()


def test_one_file_of_a_set_serves_the_setting_that_means_it(folder: Path) -> None:
    accept_licence("buffalo_l")
    (folder / "buffalo_l/w600k_r50.onnx").write_bytes(CONTENT)
    found = outside_file("buffalo_l", "csim_weights")
    assert found is not None
    assert found.record is not None
    assert found.record.sha256 == {"w600k_r50.onnx": SHA256}


def test_what_is_published_names_weights_terms_and_acceptance_and_no_path(folder: Path) -> None:
    put(folder, "fid_inception")
    accept_licence("buffalo_l")
    (folder / "buffalo_l/w600k_r50.onnx").write_bytes(CONTENT)
    files = [
        outside_file("buffalo_l", "csim_weights"),
        None,
        outside_file(str(find_weights("fid_inception")), "fid_weights"),
    ]
    work = folder / "work"
    write_outside_weights(work, files)
    text = (work / "outside_weights.json").read_text()
    named, own = json.loads(text)
    assert named["setting"] == "csim_weights"
    assert named["weights"] == "buffalo_l"
    assert named["licence"]["acceptance"]["accepted_by"]
    assert own == {"setting": "fid_weights", "sha256": SHA256, "weights": None, "licence": None}
    assert str(folder) not in text


def test_nothing_is_published_where_nothing_was_used(folder: Path) -> None:
    write_outside_weights(folder, [None])
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("folder")
def test_torchvision_tells_the_address_that_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def note(row: pretrained.PretrainedWeights, *_: object) -> tuple[()]:
        asked.extend(file.url for file in row.files)
        return ()

    monkeypatch.setattr("weights.fetch.fetch", note)
    fetch_weights("vgg19", lambda *_: None)
    fetch_weights("emonet_5", lambda *_: None)
    assert [url.rpartition("/")[2] for url in asked if url] == ["vgg19-dcbb9e9d.pth", "emonet_5.pth"]


def test_the_overview_tells_what_is_here_by_names_and_sizes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(pretrained.PRETRAINED.values())
    monkeypatch.setattr("weights.overview.ALL_WEIGHTS", tuple(rows))
    put(folder, "face_landmarker")
    (folder / "buffalo_l").mkdir()
    (folder / "buffalo_l/det_10g.onnx").write_bytes(b"short")
    told, states = overview()
    assert told == str(folder)
    by_name = {row["name"]: row["state"] for row in states}
    assert by_name["face_landmarker"] == "yes"
    assert by_name["vgg19"] == "no"
    assert by_name["buffalo_l"] == "w600k_r50.onnx is missing; det_10g.onnx has 5 bytes, not 7"
    assert outside_weights.PRETRAINED is pretrained.PRETRAINED
