"""Folders of empty files with the layouts of published corpora, and annotations in the published formats."""

import json
from collections.abc import Sequence
from pathlib import Path


def touch_all(folder: Path, names: Sequence[str]) -> None:
    """Empty files, which nothing opens: lists are checked by name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write_hdtf(folder: Path) -> None:
    """Times, crops and resolutions of two subsets, in the lines of the corpus."""
    folder.mkdir()
    (folder / "RD_annotion_time.txt").write_text(
        "Radio1.mp4 00:20-01:35\nRadio11.mp4 00:30-01:00 01:30-02:30\n"
    )
    (folder / "RD_crop_wh.txt").write_text("Radio11_0.mp4 600 500 100 500\nRadio11_1.mp4 610 480 90 480\n")
    (folder / "RD_resolution.txt").write_text("Radio1.mp4 720\nRadio11.mp4 1080\n")
    (folder / "WRA_annotion_time.txt").write_text(
        "AdamKinzinger0.mp4 00:10-00:40\nAdamKinzinger1.mp4 01:00-01:30\n"
    )


CELEBV_HQ = {
    "meta_info": {"appearance_mapping": ["blurry", "male", "young"], "action_mapping": ["blow", "talk"]},
    "clips": {
        "M2Ohb0FAaJU_1": {
            "ytb_id": "M2Ohb0FAaJU",
            "duration": {"start_sec": 81.62, "end_sec": 86.17},
            "bbox": {"top": 0.0, "bottom": 0.8815, "left": 0.1964, "right": 0.6922},
            "attributes": {
                "appearance": [0, 0, 1],
                "action": [0, 1],
                "emotion": {"sep_flag": False, "labels": "neutral"},
            },
            "version": "v0.1",
        },
        "_0tf2n3rlJU_0": {
            "ytb_id": "_0tf2n3rlJU",
            "duration": {"start_sec": 52.72, "end_sec": 56.1},
            "bbox": {"top": 0.0, "bottom": 0.8407, "left": 0.5271, "right": 1.0},
            "attributes": {
                "appearance": [0, 1, 1],
                "action": [0, 0],
                "emotion": {
                    "sep_flag": True,
                    "labels": [
                        {"emotion": "neutral", "start_sec": 0, "end_sec": 0.28},
                        {"emotion": "happy", "start_sec": 1.28, "end_sec": 3.28},
                    ],
                },
            },
            "version": "v0.1",
        },
    },
}

TALKVID = [
    {
        "id": "videovideoTr6MMsoWAog-scene1-scene1",
        "height": 1080,
        "width": 1920,
        "fps": 24.0,
        "start-time": 0.1,
        "start-frame": 0,
        "end-time": 5.141666666666667,
        "end-frame": 121,
        "durations": "5.042s",
        "info": {
            "Person ID": "597",
            "Ethnicity": "White",
            "Age Group": "60+",
            "Gender": "Male",
            "Video Link": "https://www.youtube.com/watch?v=Tr6MMsoWAog",
            "Language": "English",
            "Video Category": "Personal Experience",
        },
        "description": "A man in a suit.",
        "dover_scores": 8.9,
        "cotracker_ratio": 0.927,
        "head_detail": {"scores": {"avg_movement": 97.9}},
    }
]


def write_json(path: Path, value: object) -> Path:
    """Write a JSON file."""
    path.write_text(json.dumps(value), "utf-8")
    return path
