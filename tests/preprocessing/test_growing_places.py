"""A new labeller backend and a new step: one new file each, and its row (and import) in one existing file.

Each test writes the toy's module, adds its row to a copy of the existing file, and runs the copy through the
public interface in a fresh process, as a contributor would.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.factories.pipelines.checkout import Checkout
from tests.factories.preprocessing.backends import made_clip, noise, write_clips

PROJECT = Path(__file__).parents[2]
FIRST_IMPORT_OF_POSE = "from preprocessing.labellers import face_landmarker, pose_deep3d, pose_mean_face"
FIRST_IMPORT_OF_STEPS = "from preprocessing.labels import gaze, identity, lip_sync, pose"

BACKEND = '''
import numpy as np
from typing_extensions import override

from preprocessing.labellers.backend import Backend, ClipLabeller
from preprocessing.labellers.pose_mean_face import PoseLabels
from preprocessing.schema import Clip


class FrontalPose(ClipLabeller[Clip, int, PoseLabels]):
    """Labels every frame as frontal."""

    @override
    def prepare(self, item: Clip) -> int:
        return item.frame_count

    @override
    def label(self, prepared: int) -> PoseLabels:
        return PoseLabels(np.zeros((prepared, 6), np.float32), np.zeros(prepared, np.float32))


BACKEND = Backend(name="frontal", version="7", factory=FrontalPose)
'''

STEP = '''
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.clips.store import read_clips
from preprocessing.orchestration.step import Step, StepRun
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport
from storage.settings import Settings

SCHEMA = table_schema(
    column("key", pa.string(), "clip's key"), column("peak", pa.float64(), "largest sample")
)


class PeakSettings(Settings):
    """How loudness is measured."""

    scale: float = 1.0


def build(run: StepRun[PeakSettings]) -> BuildReport:
    rows = [
        {"key": clip.key, "peak": run.settings.scale * float(abs(clip.sound).max())}
        for clip in read_clips(run.upstream["clips"])
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), run.folder / "peaks.parquet")
    return BuildReport(counts={"clips": len(rows)}, refusals={})


STEP = Step(
    name="sound_peaks",
    upstream=("clips",),
    settings=PeakSettings,
    code_version="3",
    build=build,
    description="The largest sample of each clip.",
    group="labels",
    kinds=frozenset({"parquet"}),
    columns=SCHEMA,
)
'''


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("batch") / "clips", [made_clip("a", noise(3))])


def test_backend_is_one_file_and_one_row(tmp_path: Path, clips: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", "preprocessing")
    checkout.add_file("preprocessing/labellers/pose_frontal.py", BACKEND)
    table = "preprocessing/labels/pose.py"
    checkout.add_line(table, FIRST_IMPORT_OF_POSE, "from preprocessing.labellers import pose_frontal")
    checkout.add_line(table, '"deep3d": pose_deep3d.BACKEND,', '    "frontal": pose_frontal.BACKEND,')
    assert checkout.added_lines() == {table: 2}  # the import and the row

    (tmp_path / "labels").mkdir()
    result = checkout.run(
        """
import json
from pathlib import Path
from preprocessing.labellers.backend import read_labellers
from preprocessing.labels.pose import PoseLabelSettings, make_pose_labels
from preprocessing.orchestration.step import VideoBatch
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, recipe_of

clips, folder = map(Path, sys.argv[1:])
settings = PreprocessingSettings(pose_labels=PoseLabelSettings(backend="frontal"))
make_pose_labels(clips, settings.pose_labels, folder)
step, batch, default = STEPS["pose_labels"], VideoBatch("b", ()), PreprocessingSettings()
recipes = [recipe_of(step, batch, each, {}) for each in (default, settings)]
print(json.dumps({
    "labellers": read_labellers(folder),
    "code_version": recipes[1].code_version,
    "settings": recipes[1].settings_json,
    "fingerprints": [recipe.fingerprint for recipe in recipes],
    "choices": PoseLabelSettings.model_fields["backend"].json_schema_extra["enum"],
}))
""",
        clips,
        tmp_path / "labels",
    )
    assert result["labellers"] == {"pose": "frontal 7"}
    assert result["code_version"] == "1+frontal 7"
    assert result["settings"] == {"backend": "frontal"}
    assert len(set(result["fingerprints"])) == 2
    assert "frontal" in result["choices"]
    labels = pq.read_table(tmp_path / "labels" / "labels.parquet")
    np.testing.assert_array_equal(labels["yaw_rad"], np.zeros(3))


def test_step_is_one_file_and_one_row(tmp_path: Path, clips: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", "preprocessing")
    checkout.add_file("preprocessing/labels/sound_peaks.py", STEP)
    table = "preprocessing/orchestration/steps.py"
    checkout.add_line(table, FIRST_IMPORT_OF_STEPS, "from preprocessing.labels import sound_peaks")
    checkout.add_line(table, "eye_anchors.STEP,", "        sound_peaks.STEP,")
    assert checkout.added_lines() == {table: 2}  # the import and the row

    result = checkout.run(
        """
import json
import shutil
from pathlib import Path
import pipelines.definitions
from preprocessing.orchestration.step import VideoBatch
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step, why_stale
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root

clips, root = Path(sys.argv[1]), open_root(sys.argv[2])

def publish(folder):
    shutil.copytree(clips, folder, dirs_exist_ok=True)
    return BuildReport({}, {})

materialise(root, Recipe("clips", "b", "1", {}, {}), publish)
batch, settings = VideoBatch("b", ()), PreprocessingSettings()
published = run_step(root, "sound_peaks", batch, settings)
asset = pipelines.definitions.definitions.get_assets_def("sound_peaks")
print(json.dumps({
    "counts": published.manifest.counts,
    "code_version": published.manifest.code_version,
    "settings": published.manifest.settings,
    "stale": why_stale(root, "sound_peaks", batch, settings),
    "asset": [asset.key.to_user_string(), sorted(key.to_user_string() for key in asset.dependency_keys)],
}))
""",
        clips,
        tmp_path / "root",
    )
    assert result["counts"] == {"clips": 1}
    assert result["code_version"] == "3"
    assert result["settings"] == {"scale": 1.0}
    assert result["stale"] is None
    assert result["asset"] == ["sound_peaks", ["clips"]]
