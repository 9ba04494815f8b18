"""Metadata of the asset `evaluation_report`."""

from pathlib import Path

from upath import UPath

from evaluation.report.build import ReportSettings, run_report
from pipelines.evaluation.report import report_metadata
from tests.factories.evaluation.report import publish_evaluations


def test_report_metadata_has_tables_and_link(tmp_path: Path) -> None:
    publish_evaluations(UPath(tmp_path), with_videos=False)
    published = run_report(UPath(tmp_path), "default", ReportSettings(max_videos=0))
    metadata = report_metadata(published)
    location = metadata["report"].value.removeprefix("/files/")
    assert (tmp_path / location).is_file()
    assert location.startswith("assets/evaluation_report/default/")
    assert "| gaze_error ↓ (°) | 6.5 ± 1.2 |" in metadata["table: means"].value
    assert "▲ 4.5 ± 1.4" in metadata["table: means"].value
    assert (metadata["baseline ahead"], metadata["run"]) == (3, "default")
