"""What is stored of who may be mixed up, in sentences, with what to do."""

import json
from pathlib import Path

import pyarrow.parquet as pq
from upath import UPath

from preprocessing.dataset.index import DATASET, WHOLE
from preprocessing.dataset.mixed_identities import read_findings
from preprocessing.dataset.near_duplicates import (
    NEAR_DUPLICATES_TABLE,
    NearDuplicate,
    near_duplicates_table,
)
from preprocessing.labels.identity_report import ASSET, REPORT_NAME
from preprocessing.sources.catalog import CatalogRow, table_of
from preprocessing.sources.stored_catalog import save_catalog
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root
from storage.settings import Settings


class NoSettings(Settings):
    """None."""


def accepted(video_id: str, file: str) -> CatalogRow:
    identity = file.split("/", maxsplit=1)[0]
    return CatalogRow(
        video_id, "", f"/videos/{file}", file, "/videos", identity, 1, 1, present=True, status="accepted",
        reason="", detail="", batch="b0", probe_key="", facts=None,
    )  # fmt: skip


def publish_copies(root: UPath, *found: NearDuplicate) -> None:
    def build(folder: Path) -> BuildReport:
        pq.write_table(near_duplicates_table(found), folder / NEAR_DUPLICATES_TABLE)
        return BuildReport(counts={"near_duplicates": len(found)}, refusals={})

    materialise(root, Recipe(DATASET, WHOLE, "1", NoSettings(), {}), build)


def publish_report(root: UPath, **findings: list[dict[str, object]]) -> None:
    empty = {"clips_of_two_people": [], "clips_of_somebody_else": [], "identities_of_one_person": []}

    def build(folder: Path) -> BuildReport:
        (folder / REPORT_NAME).write_text(json.dumps({**empty, **findings}), "utf-8")
        return BuildReport(counts={}, refusals={})

    materialise(root, Recipe(ASSET, WHOLE, "1", NoSettings(), {}), build)


def test_nothing_is_published_or_found(tmp_path: Path) -> None:
    root = open_root(str(tmp_path / "root"))
    assert read_findings(root) == []
    publish_copies(root)
    publish_report(root)
    assert read_findings(root) == []


def test_copies_have_files_names_and_the_setting_that_joins_them(tmp_path: Path) -> None:
    root = open_root(str(tmp_path / "root"))
    files = {"a" * 16: "anna/one.mp4", "b" * 16: "a.smith/two.mp4", "c" * 16: "anna/three.mp4"}
    save_catalog(root, table_of([accepted(*each) for each in files.items()]))
    publish_copies(
        root,
        NearDuplicate("a" * 16, "b" * 16, "sound", 40, 3.21, 0.0),
        NearDuplicate("a" * 16, "c" * 16, "motion", 40, 2.0, 0.0),
    )
    (found,) = read_findings(root)
    assert found.title == "2 pairs of videos hold the same recording, 1 of them under two names"
    assert found.examples == (
        "anna/one.mp4 (anna) and a.smith/two.mp4 (a.smith): 3.2 s by sound",
        "anna/one.mp4 (anna) and anna/three.mp4 (anna): 2.0 s by motion",
    )
    assert 'PDFGC__DATASET__SPLITS__ONE_PERSON="anna = a.smith"' in found.remedy


def test_suspects_of_the_identity_report_are_sentences(tmp_path: Path) -> None:
    root = open_root(str(tmp_path / "root"))
    publish_report(
        root,
        identities_of_one_person=[
            {"identities": [f"x{n}", f"y{n}"], "cosine": 0.9 - n / 100} for n in range(7)
        ],
        clips_of_somebody_else=[
            {"key": "k", "identity": "ann", "cosine": 0.1, "most_like": "bob", "most_like_cosine": 0.8}
        ],
        clips_of_two_people=[{"key": "m", "identity": "cid", "far_share": 0.25, "lowest_cosine": 0.0}],
    )
    one, strangers, two = read_findings(root)
    assert one.title == "7 pairs of names look like one person"
    assert one.examples[0] == "x0 and y0: cosine 0.90"
    assert len(one.examples) == 5
    assert "x0 = y0; x1 = y1; " in one.remedy
    assert strangers.title == "1 clip unlike the other clips under the same name"
    assert strangers.examples == ("k, ann: cosine 0.10, most like bob (0.80)",)
    assert two.examples == ("m, cid: 25% of the frames unlike the rest",)
