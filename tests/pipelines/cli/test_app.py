"""The command `pdfgc app`, where it cannot begin."""

from pathlib import Path

from click.testing import CliRunner, Result

from evaluation.app.server import bind
from pipelines.cli.main import main


def run(root: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["app", "--root", str(root), *map(str, arguments)])


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with bind(0) as listening:
        listening.listen()
        port = listening.getsockname()[1]
        result = run(tmp_path / "root", "--port", str(port))
    assert result.exit_code == 1
    assert result.output == f"Error: port {port}: Address already in use; take another with --port\n"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    result = run(tmp_path / "root", "--port", "0", "--output", tmp_path / "file" / "videos")
    assert result.exit_code == 1
    assert (
        result.output
        == f"Error: {tmp_path / 'file' / 'videos'}: Not a directory; take another with --output\n"
    )
