"""Which settings count: of a batch, adopted ones, the deployment's."""

from pathlib import Path

import pytest

from preprocessing.clips.selection import ClipSettings
from preprocessing.orchestration.chosen_settings import (
    SETTINGS_LOCATION,
    adopt,
    apply_changes,
    as_form,
    changes_between,
    keep_for_batch,
    keep_for_dataset,
    read_chosen,
)
from preprocessing.orchestration.steps import PreprocessingSettings
from storage.root import open_root

DEPLOYED = PreprocessingSettings()
SIZE = "clips.minimum_face_size_px"
LARGE = DEPLOYED.replace(clips=ClipSettings(minimum_face_size_px=200))


def test_changes_are_by_name_and_apply_again() -> None:
    changes = changes_between(DEPLOYED, LARGE)
    assert changes == {SIZE: 200}
    assert apply_changes(DEPLOYED, changes) == LARGE
    assert as_form(changes) == {"clips": {"minimum_face_size_px": 200}}
    assert changes_between(LARGE, DEPLOYED) == {SIZE: DEPLOYED.clips.minimum_face_size_px}


def test_own_settings_count_over_adopted_ones(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    assert read_chosen(root).of("b1", DEPLOYED) == DEPLOYED
    adopt(root, {SIZE: 100}, "run1", "sharper")
    keep_for_batch(root, "b1", {SIZE: 200}, "run2", DEPLOYED)
    keep_for_batch(root, "b2", {SIZE: 100}, "run3", DEPLOYED)  # what counts already is not kept
    chosen = read_chosen(root)
    assert list(chosen.batches) == ["b1"]
    assert chosen.of("b1", DEPLOYED) == LARGE
    assert chosen.of("b2", DEPLOYED).clips.minimum_face_size_px == 100
    assert chosen.of("b1", DEPLOYED, {SIZE: 50}).clips.minimum_face_size_px == 50
    adopt(root, {}, "run4", "")
    assert read_chosen(root).of("b1", DEPLOYED) == DEPLOYED


def test_setting_of_all_batches_takes_a_batch_s_own_back(tmp_path: Path) -> None:
    root, usual = open_root(str(tmp_path)), DEPLOYED.clips.minimum_face_size_px
    keep_for_batch(root, "b1", {SIZE: 200, "clips.minimum_sharpness": 9}, "run1", DEPLOYED)
    keep_for_batch(root, "b1", {SIZE: usual}, "run2", DEPLOYED)
    assert read_chosen(root).changes_of("b1") == {"clips.minimum_sharpness": 9}
    adopt(root, {SIZE: 100}, "run3", "")
    keep_for_batch(root, "b1", {SIZE: usual}, "run4", DEPLOYED)  # the deployment's, over the adopted one
    assert read_chosen(root).of("b1", DEPLOYED) == DEPLOYED
    keep_for_batch(root, "b1", {SIZE: 100}, "run5", DEPLOYED)
    assert read_chosen(root).batches == {}


def test_unknown_setting_names_the_file(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    adopt(root, {"clips.minimum_fase": 3}, "run1", "")
    message = f"^{SETTINGS_LOCATION} below the root: clips.minimum_fase is not a setting"
    with pytest.raises(ValueError, match=message):
        read_chosen(root).of("b1", DEPLOYED)


def test_data_set_has_a_choice_of_its_own(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    keep_for_dataset(root, {"splits.test_share": 0.3}, "run1")
    adopt(root, {SIZE: 100}, "run2", "")
    kept = read_chosen(root).dataset
    assert kept is not None
    assert kept.changes == {"splits.test_share": 0.3}
    keep_for_dataset(root, {}, "run3")
    assert read_chosen(root).dataset is None
