"""A bucket whose requests fail: nothing is lost, and nothing is published in part."""

from pathlib import Path

import pytest
from upath import UPath

from storage import pointer
from storage.objects import ChangedMeanwhileError, read_tagged, replace_bytes
from storage.pointer import point_to, read_pointer
from storage.publishing import BuildReport, current, materialise, staleness, verify
from storage.root import local_copy, open_root
from tests.factories.storage.builds import FILES, ClipSettings, build, files_below, materialise_small, recipe
from tests.factories.storage.faulty_store import KINDS, Fault, FaultKind, FaultyStore, give_up_early


@pytest.mark.parametrize("kind", KINDS)
def test_build_survives_a_fault_of_each_request(bucket: str, store: FaultyStore, kind: FaultKind) -> None:
    root = open_root(bucket)
    store.faults = [
        Fault(kind, "PUT", "shards-000.tar"),
        Fault(kind, "PUT", "manifest.json"),
        Fault(kind, "PUT", "current.json"),
        Fault(kind, "GET", "list-type=2"),
        Fault(kind, "GET", "current.json"),
        Fault(kind, "GET", "shards-000.tar"),
    ]
    published = materialise_small(root)
    assert files_below(local_copy(published.directory)) == FILES
    assert verify(published) == []
    assert staleness(root, recipe()) is None
    assert len(store.injected) == len(store.faults)


def test_build_survives_random_faults(bucket: str, store: FaultyStore) -> None:
    root = open_root(bucket)
    store.rate = 0.2
    for number in range(3):
        settings = ClipSettings(minimum_face_px=number)
        published = materialise(root, recipe(settings), build)
        assert files_below(local_copy(published.directory)) == FILES
    store.rate = 0.0
    found = read_pointer(root / "assets" / "clips" / "batch-0000")
    assert found is not None
    assert len(found.superseded) == 2
    assert len(store.injected) > 5


def test_requests_without_an_answer_are_repeated(
    bucket: str, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_TIMEOUT", "1s")
    root = open_root(bucket)
    store.faults = [Fault("timeout", "PUT", "manifest.json"), Fault("timeout", "GET", "index.json")]
    published = materialise_small(root)
    assert files_below(local_copy(published.directory)) == FILES
    assert len(store.injected) == len(store.faults)


@pytest.mark.parametrize("down", ["shards-000.tar", "manifest.json", "current.json"])
def test_store_that_is_down_publishes_nothing(
    bucket: str, store: FaultyStore, monkeypatch: pytest.MonkeyPatch, down: str
) -> None:
    give_up_early(monkeypatch)
    root = open_root(bucket)
    store.faults = [Fault("error", "PUT", down, times=100)]
    with pytest.raises(Exception, match=r"500 Internal Server Error|max_retries"):
        materialise_small(root)
    assert current(root, "clips", "batch-0000") is None
    store.faults.clear()
    published = materialise_small(root)
    assert files_below(local_copy(published.directory)) == FILES
    assert staleness(root, recipe()) is None


def test_late_listing_is_at_worst_built_again(bucket: str, store: FaultyStore) -> None:
    root = open_root(bucket)
    first = materialise_small(root)
    store.unlisted = "shards-000.tar"
    assert staleness(root, recipe()) == "file shards-000.tar is missing"
    again = materialise_small(root)
    assert files_below(local_copy(again.directory)) == FILES
    store.unlisted = ""
    assert again.directory == first.directory
    assert staleness(root, recipe()) is None
    assert verify(again) == []


def test_two_machines_build_one_batch(
    bucket: str, store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = open_root(bucket)
    store.rate = 0.1

    def build_while_another_does(work: Path) -> BuildReport:
        with monkeypatch.context() as patch:
            patch.setenv("PDFGC_SCRATCH", str(tmp_path / "other machine"))
            assert materialise(root, recipe(), build).built
        return build(work)

    published = materialise(root, recipe(), build_while_another_does)
    store.rate = 0.0
    found = current(root, "clips", "batch-0000")
    assert found is not None
    assert found.directory == published.directory
    assert verify(found) == []
    assert staleness(root, recipe()) is None


def test_pointer_changed_meanwhile_keeps_both_records(
    bucket: str, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = open_root(bucket) / "assets" / "clips" / "batch-0000"
    point_to(partition, "first")

    def replace_after_another_machine(path: UPath, data: bytes, tag: str) -> str:
        monkeypatch.setattr(pointer, "replace_bytes", replace_bytes)
        point_to(partition, "second")
        return replace_bytes(path, data, tag)

    monkeypatch.setattr(pointer, "replace_bytes", replace_after_another_machine)
    point_to(partition, "third")
    found = read_pointer(partition)
    assert found is not None
    assert found.directory == "third"
    assert found.superseded.keys() == {"first", "second"}
    assert store.injected == []


@pytest.mark.parametrize("tag", ["", '"0123"'])
def test_replace_bytes_refuses_another_version(bucket: str, tag: str) -> None:
    path = open_root(bucket) / "current.json"
    before = replace_bytes(path, b"first", "")
    with pytest.raises(ChangedMeanwhileError, match="was replaced by another machine meanwhile"):
        replace_bytes(path, b"second", tag)
    assert read_tagged(path) == (b"first", before)
    after = replace_bytes(path, b"second", before)
    assert read_tagged(path) == (b"second", after)


def test_replace_bytes_without_conditional_puts(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    path = open_root(f"{bucket}") / "current.json"
    replace_bytes(path, b"first", "")
    replace_bytes(path, b"second", "another")
    assert read_tagged(path)[0] == b"second"
