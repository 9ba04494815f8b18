"""The command `pdfgc weights`."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli.main import main
from tests.factories.weights.server import Plan, served
from weights import catalog as pretrained

CONTENT = b"weights " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("PDFGC_ACCEPT_LICENCES", raising=False)
    return tmp_path / "weights"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["weights", *arguments])


def serve_emonet(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    row = pretrained.PRETRAINED["emonet_8"]
    files = (replace(row.files[0], url=f"{url}/emonet_8.pth"),)
    monkeypatch.setitem(pretrained.PRETRAINED, "emonet_8", replace(row, files=files))


def test_list_shows_licences_and_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("list").output
    for name in pretrained.PRETRAINED:
        assert name in shown
    assert f"Folder: {folder} (PDFGC_WEIGHTS)" in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 80
    values = json.loads(run("list", "--json").output)
    assert [row["name"] for row in values["weights"]] == list(pretrained.PRETRAINED)
    assert {row["state"] for row in values["weights"]} == {"missing"}


def test_fetch_path_and_verify_after_accepting_the_licence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(Plan(CONTENT)) as url:
        serve_emonet(monkeypatch, url)
        refused = run("fetch", "emonet_8")
        assert refused.exit_code == 1
        assert refused.output.startswith("Error: emonet_8: the licence must be accepted once. CC-BY-NC-ND")
        assert refused.output.count("\n") == 1
        fetched = run("fetch", "emonet_8", "--accept-licence", "emonet_8")
    assert fetched.exit_code == 0
    assert f"{folder}/emonet_8/emonet_8.pth  sha256 {SHA256} (recorded at first use)" in fetched.output
    assert run("path", "emonet_8").output == f"{folder}/emonet_8/emonet_8.pth\n"
    assert run("verify").output == f"emonet_8: emonet_8.pth ok, sha256 {SHA256}\n"
    (folder / "emonet_8/emonet_8.pth").write_bytes(CONTENT[1:])
    verified = run("verify", "emonet_8")
    assert verified.exit_code == 1
    assert "differs from the emonet_8.pth first used" in verified.output


@pytest.mark.usefixtures("folder")
def test_missing_or_unknown_weights_are_one_line() -> None:
    missing = run("path", "l2cs_gaze360")
    assert missing.exit_code == 1
    assert missing.output.startswith("Error: l2cs_gaze360 is missing: no L2CSNet_gaze360.pkl in ")
    assert "run: pdfgc weights fetch l2cs_gaze360 --from L2CSNet_gaze360.pkl" in missing.output
    assert missing.output.count("\n") == 1
    assert run("path", "vgg").output.startswith("Error: no weights 'vgg'; known are pdfgc_official, ")
    assert run("verify").output == "no weights are present; pdfgc weights list shows those available\n"


def test_fetch_from_takes_one_name(folder: Path) -> None:
    result = run("fetch", "vgg19", "alexnet", "--from", "x")
    assert result.exit_code == 2
    assert "--from takes one NAME, got vgg19, alexnet" in result.output
    assert not folder.exists()


def test_fetch_refuses_a_saved_login_page(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "epoch_20.pth"
    page.write_text("<!doctype html><title>Sign in</title>")
    result = run("fetch", "deep3d_facerecon", "--from", str(page), "--accept-licence", "deep3d_facerecon")
    assert result.exit_code == 1
    assert f"Error: {page} is a web page, not weights" in result.output
    assert not (folder / "deep3d_facerecon/epoch_20.pth").exists()
