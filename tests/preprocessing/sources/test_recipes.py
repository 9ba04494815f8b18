"""Every recipe on a folder of its corpus's layout, made here, with annotations in the published format."""

from pathlib import Path
from typing import Any

import pytest

from preprocessing.sources.lists.adding import add_rows
from preprocessing.sources.lists.rows import RefusedRow, check_row
from preprocessing.sources.recipes.table import RECIPES, recipe_rows
from tests.factories.preprocessing.corpora import CELEBV_HQ, TALKVID, touch_all, write_hdtf, write_json


def made(folder: Path, recipe: str, annotations: Path | None = None) -> list[dict[str, Any] | str]:
    """The rows: records without corpus and licence, paths below the folder; refusals as `reason: path`."""
    rows: list[dict[str, Any] | str] = []
    for row in recipe_rows(recipe, folder, annotations):
        if isinstance(row, RefusedRow):
            rows.append(f"{row.reason}: {row.path}")
            continue
        check_row(row)
        assert row["corpus"] == RECIPES[recipe].title
        assert row["licence"]
        kept = {name: value for name, value in row.items() if name not in ("corpus", "licence")}
        rows.append(kept | {"path": str(Path(row["path"]).relative_to(folder))})
    return rows


def test_voxceleb2_takes_identity_and_split_from_path_and_metadata(tmp_path: Path) -> None:
    touch_all(
        tmp_path,
        ["dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "test/mp4/id00017/01dfn2spqyE/00001.mp4", "mp4/other.mp4"],
    )
    meta = tmp_path / "vox2_meta.csv"
    meta.write_text(
        "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev\nid00017 ,n000017 ,f ,test\n"
    )
    first, refused, last = made(tmp_path, "voxceleb2", meta)
    assert first == {
        "path": "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4",
        "identity": "id00012",
        "split": "dev",
        "youtube_id": "21Uxsk56VDQ",
        "utterance": "00001",
        "gender": "m",
    }
    assert refused == "not_of_the_layout: mp4/other.mp4"
    assert isinstance(last, dict)
    assert (last["identity"], last["split"], last["gender"]) == ("id00017", "test", "f")


def test_voxceleb1_reads_tab_separated_metadata(tmp_path: Path) -> None:
    touch_all(tmp_path, ["id10001/1zcIwhmdeo4/00001.mp4"])
    meta = tmp_path / "vox1_meta.csv"
    meta.write_text(
        "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA.J._Buckley\tm\tIreland\tdev\n"
    )
    (row,) = made(tmp_path, "voxceleb1", meta)
    assert isinstance(row, dict)
    assert (row["identity"], row["split"], row["nationality"]) == ("id10001", "dev", "Ireland")
    write_json(meta, {"a": 1})
    with pytest.raises(ValueError, match="has no column 'VoxCeleb1 ID'"):
        made(tmp_path, "voxceleb1", meta)


def test_hdtf_takes_clips_or_parts_of_whole_videos(tmp_path: Path) -> None:
    write_hdtf(tmp_path / "HDTF_dataset")
    touch_all(tmp_path, ["Radio11_0.mp4", "RD_Radio1.mp4", "Radio11.mp4", "WRA_AdamKinzinger0_000.mp4"])
    whole, cut, part, politician, missing = made(tmp_path, "hdtf", tmp_path / "HDTF_dataset")
    common = {"language": "en", "subset": "RD"}
    part_of = {"start": "00:20", "end": "01:35"}
    assert whole == {"path": "RD_Radio1.mp4", **part_of, "identity": "Radio1", "clip": "Radio1_0", **common}
    assert cut == {"path": "Radio11_0.mp4", "identity": "Radio11", "clip": "Radio11_0", **common}
    assert isinstance(part, dict)
    box = [part[f"face_{side}"] for side in ("left", "top", "right", "bottom")]
    assert box == pytest.approx([610 / 1920, 90 / 1080, 1090 / 1920, 570 / 1080])
    assert isinstance(politician, dict)
    assert (politician["path"], politician["identity"]) == ("WRA_AdamKinzinger0_000.mp4", "AdamKinzinger")
    assert missing == "not_found: AdamKinzinger1"
    with pytest.raises(ValueError, match="HDTF needs its folder"):
        made(tmp_path, "hdtf")


def test_mead_takes_emotion_and_level(tmp_path: Path) -> None:
    names = ["M003/video/front/happy/level_1/001.mp4", "W009/video/left_30/surprised/level_3/012.mp4"]
    touch_all(
        tmp_path, [*names, "M003_front_disgusted_level_2_007.mp4", "M003/video/front/joy/level_1/001.mp4"]
    )
    rows = made(tmp_path, "mead")
    assert rows[0] == {
        "path": "M003/video/front/happy/level_1/001.mp4",
        "identity": "M003",
        "emotion": "happy",
        "intensity": "1",
        "language": "en",
        "camera": "front",
        "sentence": "001",
        "gender": "male",
    }
    assert rows[1] == "not_of_the_layout: M003/video/front/joy/level_1/001.mp4"
    assert isinstance(rows[2], dict)
    assert isinstance(rows[3], dict)
    assert [(row["emotion"], row["intensity"]) for row in rows[2:] if isinstance(row, dict)] == [
        ("disgust", "2"),
        ("surprised", "3"),
    ]


def test_celebv_hq_takes_clips_or_parts_with_their_box(tmp_path: Path) -> None:
    touch_all(tmp_path, ["processed/M2Ohb0FAaJU_1.mp4", "raw/_0tf2n3rlJU.mp4"])
    cut, part = made(tmp_path, "celebv-hq", write_json(tmp_path / "celebvhq_info.json", CELEBV_HQ))
    assert cut == {
        "path": "processed/M2Ohb0FAaJU_1.mp4",
        "identity": "M2Ohb0FAaJU",
        "emotion": "neutral",
        "emotions": None,
        "clip": "M2Ohb0FAaJU_1",
        "appearance": ["young"],
        "action": ["talk"],
    }
    assert isinstance(part, dict)
    assert (part["path"], part["start"], part["end"]) == ("raw/_0tf2n3rlJU.mp4", 52.72, 56.1)
    assert [part[f"face_{side}"] for side in ("left", "top", "right", "bottom")] == [0.5271, 0.0, 1.0, 0.8407]
    assert (part["emotion"], len(part["emotions"])) == ("mixed", 2)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Tr6MMsoWAog/Tr6MMsoWAog_001_0.100_5.142.mp4", {}),
        ("videovideoTr6MMsoWAog-scene1-scene1.mp4", {}),
        ("Tr6MMsoWAog.mp4", {"start": 0.1, "end": 5.141666666666667}),
    ],
)
def test_talkvid_finds_cut_and_whole_videos(tmp_path: Path, name: str, part: dict[str, float]) -> None:
    touch_all(tmp_path, [name])
    (row,) = made(tmp_path, "talkvid", write_json(tmp_path / "talkvid.json", TALKVID))
    assert isinstance(row, dict)
    assert (row["path"], row["identity"], row["language"]) == (name, "person 597", "English")
    assert {key: row[key] for key in ("start", "end") if key in row} == part


def test_avspeech_takes_points_of_cut_and_whole_videos(tmp_path: Path) -> None:
    table = tmp_path / "avspeech_test.csv"
    table.write_text(
        "u5MPyrRJPmc,3.000000,8.000000,0.493,0.231\nAvWWVOgaMlk,90.000000,93.566667,0.586,0.28\n"
        "AAAAAAAAAAA,1,2,0.5,0.5\nbroken,1\n"
    )
    touch_all(tmp_path, ["u5MPyrRJPmc_3.000000_8.000000.mp4", "AvWWVOgaMlk.mkv"])
    cut, part, missing, broken = made(tmp_path, "avspeech", table)
    point = {"face_x": "0.493", "face_y": "0.231"}
    assert cut == {
        "path": "u5MPyrRJPmc_3.000000_8.000000.mp4", **point, "identity": "u5MPyrRJPmc", "split": "test"
    }  # fmt: skip
    assert isinstance(part, dict)
    assert (part["path"], part["start"], part["end"]) == ("AvWWVOgaMlk.mkv", 90.0, 93.566667)
    assert [missing, broken] == ["not_found: AAAAAAAAAAA", "damaged_row: "]


def test_lrs2_takes_splits_from_its_lists_and_lrs3_from_its_folders(tmp_path: Path) -> None:
    touch_all(
        tmp_path / "2", ["mvlrs_v1/main/5535415699068794046/00001.mp4", "mvlrs_v1/pretrain/55/00002.mp4"]
    )
    (tmp_path / "2" / "test.txt").write_text("5535415699068794046/00001 NF\n")
    rows = made(tmp_path / "2", "lrs2", tmp_path / "2")
    assert [(row["identity"], row["split"]) for row in rows if isinstance(row, dict)] == [
        ("5535415699068794046", "test"),
        ("55", "pretrain"),
    ]
    touch_all(tmp_path / "3", ["trainval/0af00UcTOSc/50001.mp4", "test/x-1/00001.mp4"])
    rows = made(tmp_path / "3", "lrs3")
    assert [(row["identity"], row["split"]) for row in rows if isinstance(row, dict)] == [
        ("x-1", "test"),
        ("0af00UcTOSc", "trainval"),
    ]


def test_crema_d_takes_emotion_level_and_demographics(tmp_path: Path) -> None:
    touch_all(tmp_path, ["VideoFlash/1001_DFA_ANG_XX.flv", "VideoFlash/1002_IEO_HAP_HI.flv"])
    people = tmp_path / "VideoDemographics.csv"
    people.write_text("ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n")
    first, second = made(tmp_path, "crema-d", people)
    assert first == {
        "path": "VideoFlash/1001_DFA_ANG_XX.flv",
        "identity": "1001",
        "emotion": "angry",
        "intensity": "",
        "language": "en",
        "sentence": "DFA",
        "age": "51",
        "gender": "male",
    }
    assert isinstance(second, dict)
    assert (second["emotion"], second["intensity"]) == ("happy", "high")


def test_ravdess_refuses_copies_without_sound(tmp_path: Path) -> None:
    names = ["01-01-03-02-01-01-01", "02-01-03-02-01-01-01", "01-02-08-01-02-02-01"]
    touch_all(tmp_path, [f"Actor_01/{name}.mp4" for name in names])
    first, song, silent = made(tmp_path, "ravdess")
    assert first == {
        "path": "Actor_01/01-01-03-02-01-01-01.mp4",
        "identity": "Actor_01",
        "emotion": "happy",
        "intensity": "strong",
        "language": "en",
        "channel": "speech",
        "text": "Kids are talking by the door",
        "repetition": "01",
        "gender": "male",
    }
    assert isinstance(song, dict)
    assert (song["emotion"], song["channel"]) == ("surprised", "song")
    assert silent == "no_sound: Actor_01/02-01-03-02-01-01-01.mp4"


def test_grid_spells_the_sentence(tmp_path: Path) -> None:
    touch_all(tmp_path, ["s1/bbaf2n.mpg", "s2/video/mpg_6000/swwz9a.mpg", "s3/notasentence.mpg"])
    first, second, refused = made(tmp_path, "grid")
    assert first == {
        "path": "s1/bbaf2n.mpg",
        "identity": "s1",
        "language": "en",
        "text": "bin blue at f two now",
    }
    assert isinstance(second, dict)
    assert second["text"] == "set white with z nine again"
    assert refused == "not_of_the_layout: s3/notasentence.mpg"


def test_recipe_rows_become_a_list(tmp_path: Path) -> None:
    touch_all(tmp_path / "v", ["s1/bbaf2n.mpg", "s1/other.mpg"])
    report = add_rows(recipe_rows("grid", tmp_path / "v", None), tmp_path / "v", tmp_path / "grid.parquet")
    assert (report.rows, report.accepted, report.refusals) == (2, 1, {"not_of_the_layout": 1})
    with pytest.raises(ValueError, match="there is no recipe 'x'; the recipes are: voxceleb1"):
        next(recipe_rows("x", tmp_path, None))
