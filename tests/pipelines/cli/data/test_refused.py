"""`pdfgc refused` and the table of the first refused in the UI."""

import csv
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from pipelines.cli.data.refused import print_csv
from pipelines.cli.main import main
from pipelines.metadata import first_refused
from preprocessing.orchestration.refusals import Refusal


def refusal(file: str, number: int = 0) -> Refusal:
    return Refusal("clips", "b0", file, 2.0 * number, "blurred", 5.5, 8.0, "variance", key=f"k{number}")


def test_refused_prints_csv(capsys: pytest.CaptureFixture[str]) -> None:
    counts = print_csv([refusal('a "b", c\x1b[2J.mp4', 1)])
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["file"] == r'a "b", c\x1b[2J.mp4'
    assert (row["start_seconds"], row["score"], row["bound"]) == ("2", "5.5", "8")
    assert counts == {("clips", "blurred"): 1}


def test_refused_of_an_empty_root(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("root")
    result = CliRunner().invoke(main, ["refused"], env={"PDFGC_ROOT": str(folder)})
    assert (result.exit_code, result.output) == (0, "0 refused\n")
    unknown = CliRunner().invoke(main, ["refused", "--batch", "b9"], env={"PDFGC_ROOT": str(folder)})
    assert unknown.output == "Error: no batch b9; available: none\n"


def test_first_refused_reads_no_further_and_escapes() -> None:
    taken: list[int] = []

    def many() -> Iterator[Refusal]:
        for number in range(1000):
            taken.append(number)
            yield refusal("<img src=x>|_a_.mp4", number)

    metadata = first_refused(many())
    text = str(metadata["refused, the first"].value)
    assert len(taken) == 20
    assert text.count("| blurred | 5.5 | 8 variance |") == 20
    assert r"| [&lt;img src=x&gt;\|\_a\_.mp4](/gallery/#clip/b0/k1) at 2.00 s |" in text
    assert text.endswith("all: `pdfgc refused --step clips`.")
    assert first_refused([]) == {}


def test_first_refused_shortens_names_and_explains() -> None:
    listed = Refusal(
        "source_videos", "", f"person/{30 * 'a'}.mp4", None, "not_a_video", detail="no moov atom"
    )
    text = str(first_refused([listed])["refused, the first"].value)
    assert text.splitlines()[-1] == f"| not\\_a\\_video |  |  | person/aaaaa…{9 * 'a'}.mp4; no moov atom |"
