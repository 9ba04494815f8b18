"""Startup errors of `pdfgc app`."""

from pathlib import Path

from click.testing import CliRunner, Result

from evaluation.app.server import bind
from pipelines.cli.main import main


def run(root: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["app", "--root", str(root), *map(str, arguments)])


def test_used_port_is_a_one_line_error(tmp_path: Path) -> None:
    with bind(0) as server_socket:
        server_socket.listen()
        port = server_socket.getsockname()[1]
        result = run(tmp_path / "root", "--port", str(port))
    assert result.exit_code == 1
    assert result.output == f"Error: port {port}: Address already in use; choose another port with --port\n"


def test_output_folder_error_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = run(tmp_path / "root", "--port", "0", "--output", tmp_path / "file" / "videos")
    assert result.exit_code == 1
    assert (
        result.output
        == f"Error: {tmp_path / 'file' / 'videos'}: Not a directory; choose another folder with --output\n"
    )
