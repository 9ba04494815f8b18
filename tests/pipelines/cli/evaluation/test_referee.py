"""The command `pdfgc referee`: what it prints of lists that cannot be measured."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli.main import main


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generated\ngone.mp4\n", "list.csv line 2, generated: no file"),
        ("video\na.mp4\n", "unknown column 'video'; columns are name, generated, truth"),
    ],
)
def test_unusable_list_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    (tmp_path / "list.csv").write_text(text)
    result = CliRunner().invoke(main, ["referee", str(tmp_path / "list.csv")])
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "list-referee").exists()


def test_help_names_every_column() -> None:
    result = CliRunner().invoke(main, ["referee", "--help"])
    words = " ".join(result.output.split())
    assert "columns generated, truth, portrait, lip, pose, eye and expression" in words
    assert "--framing [auto|whole|aligned]" in words
