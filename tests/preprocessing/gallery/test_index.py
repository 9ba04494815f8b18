"""The gallery's index: filters, ranges of labels, moved thresholds, and where a clip's bytes lie."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from upath import UPath

from preprocessing.gallery.index import LABEL_NAMED, GalleryIndex
from preprocessing.gallery.parts import anchor_jpeg, clip_facts, frame_jpeg, sound_wav
from preprocessing.gallery.selection import Filter, batch_titles, counts_of, select
from preprocessing.gallery.thresholds import histograms, outcome
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.schema import SAMPLES_PER_FRAME
from tests.factories.preprocessing.gallery_root import (
    BATCH,
    FIRST,
    FRAMES,
    REFUSED,
    SECOND,
    SHORT,
    publish_gallery_root,
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> GalleryIndex:
    root = UPath(tmp_path_factory.mktemp("root"))
    publish_gallery_root(root)
    return GalleryIndex(root)


def keys(index: GalleryIndex, wanted: Filter, offset: int = 0, limit: int = 10) -> list[str]:
    return [row["key"] for row in select(index, index.clips(), wanted, offset, limit).rows]


def test_select_filters_and_slices(index: GalleryIndex) -> None:
    assert keys(index, Filter()) == [FIRST, SECOND, REFUSED, SHORT]
    assert keys(index, Filter(), 1, 2) == [SECOND, REFUSED]
    assert keys(index, Filter(state="refused", reason="blurred")) == [REFUSED]
    assert keys(index, Filter(person="BO", state="accepted")) == [SECOND]
    assert keys(index, Filter(file="ann/")) == [FIRST]
    assert keys(index, Filter(batch="b9")) == []
    assert keys(index, Filter(order="-sharpness")) == [FIRST, SECOND, REFUSED, SHORT]
    slices = select(index, index.clips(), Filter(state="accepted"), 0, 1)
    assert (slices.total, slices.seconds, len(slices.rows)) == (2, 2 * FRAMES / 25, 1)


def test_select_by_label_takes_clips_with_a_frame_in_the_range(index: GalleryIndex) -> None:
    assert keys(index, Filter(label="yaw", low=20.0)) == [SECOND]
    assert keys(index, Filter(label="yaw", low=-1.0, high=1.0)) == [FIRST]
    lowest, highest = index.label_range(LABEL_NAMED["yaw"])
    assert lowest[1] == highest[1] == pytest.approx(math.degrees(0.5))
    assert math.isnan(highest[2])  # refused: no labels


@pytest.mark.parametrize(
    ("wanted", "message"),
    [({"state": "x"}, "state must be one of"), ({"label": "x"}, "label must be one of")],
)
def test_filter_refuses_unknown_names(wanted: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Filter(**wanted)  # pyright: ignore[reportArgumentType]


def test_select_refuses_unknown_orders_and_bounds(index: GalleryIndex) -> None:
    with pytest.raises(ValueError, match="order must be one of face_size_px"):
        keys(index, Filter(order="x"))
    with pytest.raises(ValueError, match="limit 1 to 200, got 0 and 201"):
        keys(index, Filter(), 0, 201)


def test_outcome_counts_what_a_moved_threshold_keeps(index: GalleryIndex) -> None:
    clips = index.clips()
    same = outcome(clips, {})
    assert (same.kept, same.before, same.lost, same.gained) == (2, 2, 0, 0)
    lower = outcome(clips, {"minimum_sharpness": 5.0}, "minimum_sharpness")
    assert (lower.kept, lower.lost, lower.gained) == (3, 0, 1)  # never the one that is too short
    assert [row["key"] for row in lower.kept_side] == [REFUSED, SECOND, FIRST]
    higher = outcome(clips, {"minimum_sharpness": 12.0}, "minimum_sharpness")
    assert (higher.kept, higher.lost, higher.lost_hours) == (1, 1, FRAMES / 25 / 3600)
    assert [(row["key"], row["shown_score"]) for row in higher.refused_side] == [
        (SECOND, 10.0),
        (REFUSED, 6.0),
    ]
    with pytest.raises(ValueError, match="settings are minimum_face_size_px"):
        outcome(clips, {"x": 1.0})


def test_outcome_of_angles_is_in_degrees(index: GalleryIndex) -> None:
    angle = math.degrees(0.1)
    assert outcome(index.clips(), {"maximum_head_angle_rad": angle + 0.1}).kept == 2
    assert outcome(index.clips(), {"maximum_head_angle_rad": angle - 0.1}).kept == 0
    assert outcome(index.anchors(), {"maximum_rest_error_px": 3.0}).gained == 1


def test_outcome_of_speakers_and_lip_sync(index: GalleryIndex) -> None:
    speakers = index.speakers()
    assert len(speakers) == 1  # with other faces in the picture
    assert outcome(speakers, {"speakers.minimum_margin": 0.2}).lost == 1
    assert outcome(speakers, {"speakers.minimum_score": 0.3}).lost == 0
    sync = index.lip_sync()
    assert outcome(sync, {}).kept == 2  # 0: no filter
    strict = outcome(sync, {"lip_sync.minimum_confidence": 0.2}, "lip_sync.minimum_confidence")
    assert (strict.kept, strict.lost) == (1, 1)
    assert [(row["key"], row["shown_score"]) for row in strict.refused_side] == [(SECOND, 0.0)]


def test_rows_that_other_rules_decided_stay_as_they_are(index: GalleryIndex) -> None:
    speakers = index.speakers()
    by_the_shot = replace(speakers, judged=np.zeros(len(speakers), np.bool_))
    assert outcome(by_the_shot, {"speakers.minimum_score": 0.9}).kept == 1


def test_histograms_hold_every_judged_row(index: GalleryIndex) -> None:
    (sharpness,) = [one for one in histograms(index.clips()) if one.setting == "minimum_sharpness"]
    assert (sum(sharpness.accepted), sum(sharpness.refused), sharpness.threshold) == (2, 1, 8.0)
    assert 0.0 <= sharpness.edges[0] < 6.0
    assert sharpness.edges[-1] > 20.0


def test_clips_lie_in_shards_clips_or_candidates(index: GalleryIndex) -> None:
    kinds = {key: clip_facts(index, BATCH, key)["bytes"] for key in (FIRST, SECOND, REFUSED, SHORT)}
    assert [where and where["kind"] for where in kinds.values()] == ["sample", "clip", "candidate", None]
    assert kinds[FIRST]["location"].startswith(f"assets/shards/{BATCH}/")
    assert decode_jpeg(frame_jpeg(index, BATCH, REFUSED, None)).mean() == pytest.approx(200, abs=2)
    for key, frame in ((SHORT, 0), (REFUSED, FRAMES), (REFUSED, -1), ("nobody", 0)):
        with pytest.raises(KeyError):
            frame_jpeg(index, BATCH, key, frame)


def test_clip_facts_have_labels_scores_and_anchors(index: GalleryIndex) -> None:
    facts = clip_facts(index, BATCH, FIRST)
    assert len(facts["labels"]["pose"]) == len(facts["labels"]["blink"]) == FRAMES
    assert facts["lip_sync"]["confidence"] == 0.5
    assert [anchor["accepted"] for anchor in facts["anchors"]] == [True, False]
    (size,) = [bound for bound in facts["bounds"] if bound["title"] == "Face size"]
    assert (size["score"], size["threshold"]) == (100.0, 64.0)


def test_sound_of_a_refused_clip_is_cut_out_of_its_video(index: GalleryIndex, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(sound_wav(index, BATCH, REFUSED))
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert (rate, len(samples)) == (16000, FRAMES * SAMPLES_PER_FRAME)
    assert samples[0] == (100 * SAMPLES_PER_FRAME + 2**15) % 2**16 - 2**15  # a ramp that wraps


def test_anchors_are_kept_or_made_again(index: GalleryIndex) -> None:
    assert decode_jpeg(anchor_jpeg(index, BATCH, 1)).mean() == pytest.approx(50, abs=2)
    assert decode_jpeg(anchor_jpeg(index, BATCH, 2)).shape == (224, 224, 3)
    for place in (0, 3):  # a clip without a pair, and none
        with pytest.raises(KeyError):
            anchor_jpeg(index, BATCH, place)


def test_batches_are_named_by_who_is_in_them(index: GalleryIndex) -> None:
    assert batch_titles(index.clips()) == {BATCH: "ann and 1 other person"}
    videos = tuple(SourceVideo(f"{n}", Path("/v"), "v", name) for n, name in enumerate(["bob", "ann", "cy"]))
    assert VideoBatch(BATCH, videos).title == "ann and 2 other people, 3 videos"


def test_index_sees_a_new_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preprocessing.gallery.index.LOCAL_SECONDS", 0.0)
    root = UPath(tmp_path)
    index = GalleryIndex(root)
    assert len(index.clips()) == 0
    assert counts_of(index.clips())["reason"] == {}
    publish_gallery_root(root)
    assert counts_of(index.clips())["reason"] == {"blurred": 1, "too_short": 1}
    before = index.clips()
    assert index.clips() is before
    publish_gallery_root(root, minimum_sharpness=7.0)
    assert index.clips() is not before
    assert index.clips().thresholds[0, 1] == 7.0


def test_damaged_build_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preprocessing.gallery.index.DAMAGED_SECONDS", 0.0)
    monkeypatch.setattr("preprocessing.gallery.index.LOCAL_SECONDS", 0.0)
    publish_gallery_root(UPath(tmp_path))
    index = GalleryIndex(UPath(tmp_path))
    (table,) = tmp_path.glob("assets/eye_anchors/*/*/anchors.parquet")
    (manifest,) = tmp_path.glob("assets/pose_labels/*/*/manifest.json")
    content, written = table.read_bytes(), manifest.read_text()
    table.write_bytes(content[:-20])
    manifest.write_text("{")
    assert (len(index.clips()), len(index.anchors())) == (4, 0)
    assert keys(index, Filter(label="yaw", low=20.0)) == []
    monkeypatch.setattr("preprocessing.gallery.index.DAMAGED_SECONDS", 10.0)
    lines = index.damaged()
    assert len(lines) == 2
    assert all(name in line for name, line in zip(("manifest.json", "eye_anchors"), lines, strict=True))
    monkeypatch.setattr("preprocessing.gallery.index.DAMAGED_SECONDS", 0.0)
    table.write_bytes(content)
    manifest.write_text(written)
    assert len(index.anchors()) == 2
    assert keys(index, Filter(label="yaw", low=20.0)) == [SECOND]
    assert index.damaged() == []
