import contextlib
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing.archive import Place, read_members
from preprocessing.audio.sound_landmarks import write_landmarks
from preprocessing.dataset.index import (
    SHARDS_TABLE,
    ShardSet,
    main_identity,
    read_dataset_index,
    read_splits,
)
from preprocessing.dataset.joining import (
    CARD_NAME,
    DatasetSettings,
    PreviousDataset,
    check_dataset,
    make_dataset,
)
from preprocessing.dataset.near_duplicates import NEAR_DUPLICATES_TABLE
from preprocessing.dataset.splits import Split
from preprocessing.schema import INDEX_TABLE, STATISTICS_NAME, ClipSample
from preprocessing.shards import decode_sample
from tests.factories.preprocessing.published_steps import (
    LABELLERS,
    eyes_of,
    key_of,
    make_clip,
    make_sample,
    publish_shard,
)

ROOT_TO_SHARDS = "assets/shards"


def shard_set(root: Path, batch: str, samples: list[ClipSample]) -> ShardSet:
    location = f"{ROOT_TO_SHARDS}/{batch}/f00d"
    folder = publish_shard(root / location, f"{batch}-000.tar", samples)
    sha256 = hashlib.sha256((folder / f"{batch}-000.tar").read_bytes()).hexdigest()
    return ShardSet(folder, location, {f"{batch}-000.tar": sha256})


def people(*names: str) -> list[ClipSample]:
    return [make_sample(make_clip(f"video{name}", name)) for name in names]


def dataset(
    tmp_path: Path, shards: Mapping[str, ShardSet], before: Mapping[str, Any] | None = None, **settings: Any
) -> Path:
    folder = tmp_path / f"dataset{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    make_dataset(shards, PreviousDataset(before or {}), DatasetSettings(**settings), folder)
    return folder


def statistics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / STATISTICS_NAME).read_text("utf-8"))


def code_blocks(folder: Path) -> list[str]:
    parts = (folder / CARD_NAME).read_text("utf-8").split("```python\n")[1:]
    return [part.split("```")[0] for part in parts]


def test_index_locates_every_sample(tmp_path: Path) -> None:
    shards = {"b1": shard_set(tmp_path, "b1", people("c")), "b0": shard_set(tmp_path, "b0", people("a", "b"))}
    rows = read_dataset_index(dataset(tmp_path, shards)).to_pylist()
    assert [(row["batch"], row["key"]) for row in rows] == [
        ("b0", key_of("videoa")),
        ("b0", key_of("videob")),
        ("b1", key_of("videoc")),
    ]
    for row in rows:
        members = read_members(tmp_path / row["shard"], Place(row["offset_bytes"], row["size_bytes"]))
        assert decode_sample(row["key"], members).clip.identity == row["identity"]


def test_shards_table_holds_digests(tmp_path: Path) -> None:
    shards = {"b0": shard_set(tmp_path, "b0", people("a", "b"))}
    (row,) = pq.read_table(dataset(tmp_path, shards) / SHARDS_TABLE).to_pylist()
    path = tmp_path / row["shard"]
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (row["samples"], row["size_bytes"]) == (2, path.stat().st_size)


def test_shard_without_a_digest_is_refused(tmp_path: Path) -> None:
    batch = shard_set(tmp_path, "b0", people("a"))
    with pytest.raises(ValueError, match=r"the manifest has no shard b0-000\.tar"):
        dataset(tmp_path, {"b0": ShardSet(batch.folder, batch.location, {})})


def test_index_columns_have_descriptions(tmp_path: Path) -> None:
    schema = pq.read_schema(dataset(tmp_path, {}) / INDEX_TABLE)
    assert all((schema.field(name).metadata or {}).get(b"description") for name in schema.names)


@pytest.mark.parametrize(
    ("identity", "key", "expected"),
    [
        ("anna", key_of("v", track=3), "anna"),
        ("anna face 3", key_of("v", track=3), "anna"),
        ("anna face 12", key_of("v", track=12), "anna"),
        ("two face 2", key_of("v", track=0), "two face 2"),  # her name, not a face beside
        ("anna face 13", key_of("v", track=3), "anna face 13"),
        ("Ångström 字 face 1", key_of("v", track=1), "Ångström 字"),
    ],
)
def test_secondary_face_has_the_main_identity(identity: str, key: str, expected: str) -> None:
    assert main_identity(identity, key) == expected


def test_samples_of_a_video_share_a_split(tmp_path: Path) -> None:
    names = [f"person {number}" for number in range(40)]
    samples = [
        sample
        for number, name in enumerate(names)
        for sample in (
            make_sample(make_clip(f"v{number:02d}", name, frames=1)),
            make_sample(make_clip(f"v{number:02d}", f"{name} face 1", track=1, frames=1)),
        )
    ]
    folder = dataset(tmp_path, {"b0": shard_set(tmp_path, "b0", samples)}, pictured_samples=1)
    rows = read_dataset_index(folder).to_pylist()
    by_video: dict[str, set[str]] = {}
    for row in rows:
        by_video.setdefault(row["video_id"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in by_video.values())
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert sorted(read_splits(folder)) == sorted(names)
    assert check_dataset(folder) == []


def test_secondary_face_keeps_the_split_of_its_video(tmp_path: Path) -> None:
    beside = make_sample(make_clip("v", "anna face 1", track=1))
    first = dataset(tmp_path, {"b0": shard_set(tmp_path, "b0", [beside, *people("b", "c", "d")])})
    main = make_sample(make_clip("w", "anna"))
    grown = {"b0": shard_set(tmp_path / "new", "b0", [beside, main, *people("b", "c", "d", "e")])}
    second = dataset(tmp_path, grown, read_splits(first))
    splits = {row["identity"]: row["split"] for row in read_dataset_index(second).to_pylist()}
    assert splits["anna"] == splits["anna face 1"] == read_splits(first)["anna"]


def test_splits_are_stable_as_identities_come_and_go(tmp_path: Path) -> None:
    few = dataset(tmp_path, {"b0": shard_set(tmp_path, "b0", people("a", "b", "c", "d"))})
    before = read_splits(few)
    others = {"b1": shard_set(tmp_path, "b1", people(*"cdefghij"))}
    after = read_splits(dataset(tmp_path, others, before))
    assert {name: after[name] for name in before} == before
    assert set(after) == set("abcdefghij")


def test_video_of_two_main_identities_is_refused(tmp_path: Path) -> None:
    one = [make_sample(make_clip("v", "anna"))]
    other = [make_sample(make_clip("v", "berta", first_frame=64))]
    shards = {"b0": shard_set(tmp_path, "b0", one), "b1": shard_set(tmp_path, "b1", other)}
    with pytest.raises(
        ValueError, match="video v has main identity 'anna' in batch b0 and 'berta' in batch b1"
    ):
        dataset(tmp_path, shards)


def test_people_of_one_video_share_a_split(tmp_path: Path) -> None:
    clips = [make_clip("v", "carla"), make_clip("v", "berta", first_frame=64), make_clip("w", "carla")]
    first = shard_set(tmp_path, "b0", [make_sample(clip) for clip in clips])
    shards = {"b0": first, "b1": shard_set(tmp_path, "b1", people("d"))}
    folder = tmp_path / "dataset"
    folder.mkdir()
    listed: dict[str, Split] = {"carla": "train", "berta": "test", "d": "validation"}
    make_dataset(shards, PreviousDataset({"carla": "train"}), DatasetSettings(), folder, listed)
    rows = read_dataset_index(folder).to_pylist()
    assert [(row["identity"], row["main_identity"], row["split"]) for row in rows] == [
        ("carla", "carla", "test"),
        ("berta", "carla", "test"),
        ("carla", "carla", "test"),
        ("d", "d", "validation"),
    ]
    assert check_dataset(folder) == []


def with_landmarks(shards: ShardSet, **videos: tuple[list[int], list[int]]) -> ShardSet:
    of_videos = {
        name: (np.array(hashes, np.uint32), np.array(times, np.int32))
        for name, (hashes, times) in videos.items()
    }
    write_landmarks(of_videos, shards.folder)
    return shards


def test_copies_of_a_recording_share_a_split(tmp_path: Path) -> None:
    """The same recording under two names, one in validation by its name and the other in train."""
    recording = ([10, 20, 30, 40, 50, 60], [0, 9, 20, 33, 41, 50])
    shards = {
        "b0": with_landmarks(
            shard_set(tmp_path, "b0", people("a", "c")), videoa=recording, videoc=([1], [1])
        ),
        "b1": with_landmarks(shard_set(tmp_path, "b1", people("b", "d")), videob=recording),
    }
    split = {"splits": {"validation_pattern": "a", "minimum_identities": 0}}
    joined = dataset(tmp_path, shards, **split)
    assert read_splits(joined) == {"a": "validation", "c": "train", "d": "train"}
    (row,) = pq.read_table(joined / NEAR_DUPLICATES_TABLE).to_pylist()
    assert (row["video_id"], row["other_video_id"], row["landmarks"]) == ("videoa", "videob", 6)
    assert check_dataset(joined) == []
    card = (joined / CARD_NAME).read_text("utf-8")
    assert "1 pair of videos holds the same recording" in card
    assert "Each pair is in one split." in card
    assert f"| videoa (a) | videob (b) | {row['seconds']:.1f} |" in card
    parted = dataset(tmp_path, shards, splits={**split["splits"], "join_near_duplicates": False})
    assert read_splits(parted)["b"] == "train"
    assert check_dataset(parted) == [
        "videos videoa and videob hold the same recording, and are in validation and train"
    ]


def test_names_of_one_person_share_a_split(tmp_path: Path) -> None:
    shards = {"b0": shard_set(tmp_path, "b0", people("a", "b", "c"))}
    named = {"validation_pattern": "b", "minimum_identities": 0, "one_person": "b = a; c = nobody"}
    joined = dataset(tmp_path, shards, splits=named)
    index = read_dataset_index(joined)
    mains = dict(zip(index["identity"].to_pylist(), index["main_identity"].to_pylist(), strict=True))
    assert mains == {"a": "a", "b": "a", "c": "c"}
    assert read_splits(joined) == {"a": "validation", "c": "train"}


def test_key_in_two_shards_is_refused(tmp_path: Path) -> None:
    shards = {batch: shard_set(tmp_path, batch, people("a")) for batch in ("b0", "b1")}
    with pytest.raises(ValueError, match=r"videoa-t00-f0000000 is in .*/b0-000\.tar and in .*/b1-000\.tar"):
        dataset(tmp_path, shards)


def test_mixed_labellers_are_refused_unless_allowed(tmp_path: Path) -> None:
    other = [make_sample(make_clip("w", "w"), labellers={**LABELLERS, "pose": "p 2"})]
    shards = {"b0": shard_set(tmp_path, "b0", people("a", "b")), "b1": shard_set(tmp_path, "b1", other)}
    message = (
        r"pose by 'p 1' in .*/b0-000\.tar \(samples: 2\) and by 'p 2' in .*/b1-000\.tar \(samples: 1\); "
    )
    with pytest.raises(ValueError, match=message):
        dataset(tmp_path, shards)
    allowed = dataset(tmp_path, shards, allow_mixed_labellers=True)
    assert statistics(allowed)["labellers"]["pose"] == {"p 1": 2, "p 2": 1}


def test_card_and_manifest_count_samples_by_labeller(tmp_path: Path) -> None:
    weighed = {**LABELLERS, "pose": "deep3d 1 weights 0123abcd", "faces": "finder 1 weights 89abcdef"}
    other = [make_sample(make_clip("w", "w"), labellers=weighed)]
    shards = {"b0": shard_set(tmp_path, "b0", people("a", "b")), "b1": shard_set(tmp_path, "b1", other)}
    folder = tmp_path / "data_set"
    folder.mkdir()
    report = make_dataset(shards, PreviousDataset(), DatasetSettings(allow_mixed_labellers=True), folder)
    wanted = {
        "blink": {LABELLERS["blink"]: 3},
        "faces": {"built in": 2, "finder 1 weights 89abcdef": 1},
        "gaze": {LABELLERS["gaze"]: 3},
        "lip_sync": {LABELLERS["lip_sync"]: 3},
        "pose": {"deep3d 1 weights 0123abcd": 1, "p 1": 2},
    }
    assert statistics(folder)["labellers"] == wanted
    card = (folder / CARD_NAME).read_text("utf-8")
    for label, by_labeller in wanted.items():
        for labeller, count in by_labeller.items():
            assert f"| {label} | {labeller} | {count} |" in card
            assert report.counts[f"{label} by {labeller}"] == count


def test_other_schema_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("preprocessing.shards.SCHEMA_VERSION", 99)
        shards = {"b0": shard_set(tmp_path, "b0", people("a"))}
    with pytest.raises(ValueError, match="has schema version 99, this code reads"):
        dataset(tmp_path, shards)


def test_index_that_does_not_match_its_shard_is_refused(tmp_path: Path) -> None:
    batch = shard_set(tmp_path, "b0", people("a", "b"))
    path = batch.folder / "index.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["offset_bytes"], rows[1]["offset_bytes"] = rows[1]["offset_bytes"], rows[0]["offset_bytes"]
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)
    with pytest.raises(ValueError, match=r"videoa-t00-f0000000: its sample at byte .* lacks"):
        dataset(tmp_path, {"b0": batch})


def test_statistics_count_the_samples(tmp_path: Path) -> None:
    anna, berta = make_clip("v", "anna", frames=3), make_clip("w", "berta", frames=1)
    samples = [
        make_sample(
            anna, pose=(0.1, -0.2, 0.0, 0.0, 0.0, 0.0), lip_sync={"offset_frames": 2.0, "confidence": 3.0}
        ),
        make_sample(berta, pose=(0.3, 0.2, 0.0, 0.0, 0.0, 0.0), anchors=(eyes_of(anna),)),
    ]
    shards = {"b0": shard_set(tmp_path, "b0", samples)}
    contents = statistics(dataset(tmp_path, shards, {"anna": "train", "berta": "test"}))
    assert contents["total"] == {
        "samples": 2,
        "frames": 4,
        "hours": round(4 / 25 / 3600, 6),
        "identities": 2,
        "videos": 2,
        "anchors": 1,
        "batches": 1,
        "shards": 1,
        "bytes": (shards["b0"].folder / "b0-000.tar").stat().st_size,
    }
    assert contents["splits"]["train"]["frames"] == 3
    assert [contents["splits"][split]["anchors_across_splits"] for split in ("train", "test")] == [
        0,
        1,
    ]
    pitch = contents["distributions"]["pitch"]
    assert pitch["values"] == 4
    # Three frames of 0.1 rad and one of 0.3: 5.7296, 17.1887 degrees.
    assert pitch["mean"] == pytest.approx((3 * 5.7296 + 17.1887) / 4, abs=1e-3)
    assert (pitch["minimum"], pitch["maximum"]) == (
        pytest.approx(5.7296, abs=1e-3),
        pytest.approx(17.1887, abs=1e-3),
    )
    assert pitch["percentiles"]["50"] == pytest.approx(5.73, abs=0.09)
    assert contents["distributions"]["lip_sync_offset by s 1"]["values"] == 1
    assert contents["distributions"]["face_size"]["mean"] == 100.0
    assert contents["schema_version"] == 2


def test_lip_sync_scorers_have_separate_distributions(tmp_path: Path) -> None:
    scores = {"offset_frames": 1.0, "confidence": 1.0}
    samples = [
        make_sample(make_clip("v", "a"), lip_sync=scores),
        make_sample(make_clip("w", "b"), lip_sync=scores, labellers={**LABELLERS, "lip_sync": "other 1"}),
    ]
    shards = {"b0": shard_set(tmp_path, "b0", samples)}
    contents = statistics(dataset(tmp_path, shards, allow_mixed_labellers=True))["distributions"]
    assert {
        name: facts["values"] for name, facts in contents.items() if name.startswith("lip_sync_confidence")
    } == {
        "lip_sync_confidence by s 1": 1,
        "lip_sync_confidence by other 1": 1,
    }


def test_no_shards_make_an_empty_data_set(tmp_path: Path) -> None:
    folder = dataset(tmp_path, {})
    assert read_dataset_index(folder).num_rows == 0
    assert statistics(folder)["total"]["samples"] == 0
    assert check_dataset(folder) == []


def test_data_set_bytes_are_reproducible(tmp_path: Path) -> None:
    shards = {"b0": shard_set(tmp_path, "b0", people("a", "b", "c"))}
    first, second = dataset(tmp_path, shards), dataset(tmp_path, shards)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(names) == 11
    assert [(first / name).read_bytes() == (second / name).read_bytes() for name in names] == [True] * 11


def test_card_has_its_pictures(tmp_path: Path) -> None:
    folder = dataset(tmp_path, {"b0": shard_set(tmp_path, "b0", people("a"))})
    links = [part.split(")")[0] for part in (folder / CARD_NAME).read_text("utf-8").split("](")[1:]]
    assert links
    assert all((folder / link).is_file() for link in links)


# webdataset leaves the shard that it has read to the garbage collector to close.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_code_of_the_card_loads_the_training_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = {"b0": shard_set(tmp_path, "b0", people("a", "b", "c"))}
    folder = dataset(tmp_path, shards, {"a": "train", "b": "test", "c": "train"})
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path))
    monkeypatch.chdir(folder)
    stock, checked = code_blocks(folder)
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(stock, names)  # noqa: S102  (the card's own code is what is tested)
    lines = printed.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == [key_of("videoa"), key_of("videoc")]
    assert lines[0].endswith("(224, 224, 3) (2, 6)")
    exec(checked, names)  # noqa: S102
    assert names["clip_sample"].clip.identity == "c"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"split": "test"}, "identity 'a' is in splits test, train"),
        (
            {"split": "test", "identity": "z", "main_identity": "z"},
            "video_id 'videoa' is in splits test, train",
        ),
        ({"key": key_of("videoa")}, "sample videoa-t00-f0000000 occurs more than once"),
        (
            {"identity": "z", "main_identity": "z"},
            "main_identity 'z' is in train, but in None in splits.parquet",
        ),
    ],
)
def test_check_finds_leaks_between_splits(tmp_path: Path, changes: dict[str, str], problem: str) -> None:
    samples = [make_sample(make_clip("videoa", "a", first_frame=first)) for first in (0, 64)]
    folder = dataset(tmp_path, {"b0": shard_set(tmp_path, "b0", samples)}, {"a": "train"})
    index = read_dataset_index(folder)
    rows = index.to_pylist()
    rows[1] |= changes
    pq.write_table(pa.Table.from_pylist(rows, schema=index.schema), folder / INDEX_TABLE)
    assert problem in check_dataset(folder)


def test_check_finds_outdated_statistics(tmp_path: Path) -> None:
    folder = dataset(tmp_path, {"b0": shard_set(tmp_path, "b0", people("a", "b"))})
    index = read_dataset_index(folder)
    pq.write_table(index.slice(0, 1), folder / INDEX_TABLE)
    assert check_dataset(folder) == ["statistics.json states 2 samples, index.parquet has 1"]


def rebuilt(tmp_path: Path, shards: Mapping[str, ShardSet], before: Path) -> Path:
    folder = tmp_path / f"dataset{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    make_dataset(shards, PreviousDataset.read(before), DatasetSettings(pictured_samples=0), folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_known_batches_are_not_read_again(tmp_path: Path) -> None:
    shards = {"b0": shard_set(tmp_path, "b0", people("a", "b")), "b1": shard_set(tmp_path, "b1", people("c"))}
    first = dataset(tmp_path, {"b0": shards["b0"]}, pictured_samples=0)
    whole = rebuilt(tmp_path, shards, dataset(tmp_path, {}, read_splits(first), pictured_samples=0))
    tar = shards["b0"].folder / "b0-000.tar"
    tar.write_bytes(bytes(tar.stat().st_size))  # nothing to read there any more
    assert contents(rebuilt(tmp_path, shards, first)) == contents(whole)


def test_changed_batches_are_read_again(tmp_path: Path) -> None:
    first = dataset(tmp_path, {"b0": shard_set(tmp_path, "b0", people("a", "b"))}, pictured_samples=0)
    changed = {"b0": shard_set(tmp_path / "later", "b0", people("a", "b", "c"))}
    whole = dataset(tmp_path, changed, read_splits(first), pictured_samples=0)
    assert contents(rebuilt(tmp_path, changed, first)) == contents(whole)
    assert sum(statistics(whole)["labellers"]["pose"].values()) == 3
