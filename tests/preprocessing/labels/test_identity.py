"""Identities by a toy recognition network, whose feature is a face's mean colour."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from preprocessing.labellers.backend import read_labellers
from preprocessing.labellers.identity_insightface import FaceEmbedder
from preprocessing.labels.identity import (
    EMBEDDINGS_TABLE,
    IdentitySettings,
    cosines_with_central_frame,
    make_identity_embeddings,
)
from preprocessing.labels.identity_report import REPORT_NAME, IdentityReportSettings, make_identity_report
from preprocessing.schema import Clip
from tests.factories.preprocessing.backends import (
    assert_missing_and_cut_files_are_told,
    coloured,
    made_clip,
    weights_at,
    write_clips,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def write_network(path: Path, side_px: int = 112, faces: int | str = "n") -> Path:
    """A network with the published file's inputs and outputs; its features are mean colours plus 1."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["faces"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Add", ["flat", "one"], ["feature"]),
    ]
    taken = helper.make_tensor_value_info("faces", TensorProto.FLOAT, [faces, 3, side_px, side_px])
    given = helper.make_tensor_value_info("feature", TensorProto.FLOAT, [faces, 3])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(nodes, "toy", [taken], [given], [one])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def clip_of(key: str, identity: str, *colours: tuple[int, int, int]) -> Clip:
    # Seen whole: the face is nearer, so that the aligned face lies within the crop.
    return made_clip(key, [coloured(*colour) for colour in colours], identity)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "toy.onnx")


def embedded(folder: Path, network: Path, *clips: Clip, digit: str = "a") -> Path:
    embeddings = folder / "embeddings"
    embeddings.mkdir(parents=True)
    make_identity_embeddings(
        write_clips(folder / "clips", clips), IdentitySettings(), embeddings, weights_at(network, digit)
    )
    return embeddings


def report(batches: dict[str, Path], folder: Path) -> dict[str, Any]:
    make_identity_report(batches, IdentityReportSettings(), folder)
    return json.loads((folder / REPORT_NAME).read_text("utf-8"))


@pytest.mark.parametrize("faces", ["n", 1])
def test_features_have_length_one(tmp_path: Path, faces: int | str) -> None:
    """RGB in -1 to 1, in the batch size that the file fixes."""
    embedder = FaceEmbedder(write_network(tmp_path / "toy.onnx", faces=faces))
    pictures = np.stack([np.full((112, 112, 3), colour, np.uint8) for colour in (RED, (255, 255, 0), BLUE)])
    half = 0.5**0.5
    np.testing.assert_allclose(embedder.label(pictures), [[1, 0, 0], [half, half, 0], [0, 0, 1]], atol=1e-6)
    with pytest.raises(ValueError, match=r"insightface: features \[1, 3\] of lengths 0 to 0, need \[1, D\]"):
        embedder.label(np.zeros((1, 112, 112, 3), np.uint8))


def test_clip_has_a_mean_embedding_and_cosines_of_frames(tmp_path: Path, network: Path) -> None:
    embeddings = embedded(tmp_path, network, clip_of("a", "ann", RED, RED, RED, GREEN))
    (row,) = pq.read_table(embeddings / EMBEDDINGS_TABLE).to_pylist()
    assert row["frames"] == [0, 1, 2, 3]
    assert row["cosines"] == pytest.approx([1, 1, 1, 0], abs=0.02)
    assert row["embedding"] == pytest.approx([3 / 10**0.5, 1 / 10**0.5, 0], abs=0.02)
    assert read_labellers(embeddings) == {"identity": "insightface 1 weights aaaaaaaa"}


def test_cosines_of_two_people_split_in_half() -> None:
    first, second = np.eye(2, dtype=np.float32)
    frames = np.stack([first, first, second, second])
    assert sorted(cosines_with_central_frame(frames)) == [0, 0, 1, 1]


def test_report_finds_mixed_up_identities_of_all_batches(tmp_path: Path, network: Path) -> None:
    first = embedded(
        tmp_path / "1",
        network,
        clip_of("a", "ann", RED),
        clip_of("b", "ann", RED),
        clip_of("c", "ann", GREEN),  # bob's
        clip_of("d", "cid", BLUE, BLUE, GREEN, BLUE),  # somebody comes in
    )
    second = embedded(tmp_path / "2", network, clip_of("e", "bob", GREEN), clip_of("f", "rob", GREEN))
    findings = report({"b0": first, "b1": second}, tmp_path)
    assert findings["labeller"] == "insightface 1 weights aaaaaaaa"
    (two,) = findings["clips_of_two_people"]
    assert (two["key"], two["identity"], two["far_share"]) == ("d", "cid", 0.25)
    (stranger,) = findings["clips_of_somebody_else"]
    assert (stranger["key"], stranger["identity"], stranger["most_like"]) == ("c", "ann", "bob")
    assert stranger["cosine"] == pytest.approx(0.0, abs=0.02)
    (pair,) = findings["identities_of_one_person"]
    assert pair["identities"] == ["bob", "rob"]
    assert pair["cosine"] == pytest.approx(1.0, abs=0.02)


def test_report_of_a_consistent_corpus_is_empty(tmp_path: Path, network: Path) -> None:
    embeddings = embedded(tmp_path / "1", network, clip_of("a", "ann", RED, RED), clip_of("b", "bob", GREEN))
    findings = report({"b0": embeddings}, tmp_path)
    assert [len(rows) for rows in findings.values() if isinstance(rows, list)] == [0, 0, 0]


def test_report_refuses_embeddings_of_different_networks(tmp_path: Path, network: Path) -> None:
    one = embedded(tmp_path / "1", network, clip_of("a", "ann", RED))
    other = embedded(tmp_path / "2", network, clip_of("b", "bob", RED), digit="b")
    with pytest.raises(
        ValueError,
        match=r"^embeddings of different networks: 'insightface 1 weights aaaaaaaa'",
    ):
        report({"b0": one, "b1": other}, tmp_path)


def test_bad_network_files_are_errors_of_one_line(tmp_path: Path, network: Path) -> None:
    assert_missing_and_cut_files_are_told(FaceEmbedder, network, tmp_path)
    other = write_network(tmp_path / "other.onnx", side_px=96)
    with pytest.raises(ValueError, match=r"other\.onnx takes .*96, 96.*, need one input"):
        FaceEmbedder(other)
