import json
from pathlib import Path

from click.testing import CliRunner

from pipelines.cli.main import main


def test_corpus_command_renders_the_people_asked_for(tmp_path: Path) -> None:
    options = [
        "--people",
        "2",
        "--videos",
        "1",
        "--seed",
        "3",
        "--seconds-per-video",
        "0.2",
        "--side-px",
        "64",
        "--workers",
        "0",
    ]
    result = CliRunner().invoke(main, ["corpus", str(tmp_path), *options])
    assert result.exit_code == 0, result.output
    assert "2 videos" in result.output
    assert sorted(path.name for path in tmp_path.glob("*/*.mp4")) == ["talk-0.mp4", "talk-0.mp4"]
    table = json.loads((tmp_path / "people.json").read_text())
    assert table["seed"] == 3
    assert [person["name"] for person in table["people"]] == ["demo-0000", "demo-0001"]
