"""Asset checks of the batch steps. Blocking checks keep damaged files from the steps downstream."""

from collections.abc import Mapping
from typing import Final

from pipelines.checks import CheckDefinition
from pipelines.preprocessing.batch_builds import BatchBuilds
from preprocessing.orchestration.checks import (
    check_anchors_verified,
    check_checksums,
    check_clips_left_out,
    check_gaze_in_range,
    check_labels_complete,
    check_pose_in_range,
    check_refused_share,
)

StepCheck = CheckDefinition[BatchBuilds]

STEP_CHECKS: Final[Mapping[str, tuple[StepCheck, ...]]] = {
    "clips": (
        StepCheck(
            "most_candidates_accepted",
            "At most half of the candidates were refused.",
            blocking=False,
            check=lambda builds: check_refused_share(builds.folder("clips")),
        ),
    ),
    "pose_labels": (
        StepCheck(
            "pose_in_range",
            "Every pose is finite and plausible for a head in the crop.",
            blocking=True,
            check=lambda builds: check_pose_in_range(builds.folder("pose_labels")),
        ),
        StepCheck(
            "pose_complete",
            "Every frame of every clip has a pose.",
            blocking=True,
            check=lambda builds: check_labels_complete(builds.folder("clips"), builds.folder("pose_labels")),
        ),
    ),
    "gaze_labels": (
        StepCheck(
            "gaze_in_range",
            "Every gaze angle is plausible for an eye, and every blink is within 0 to 1.",
            blocking=True,
            check=lambda builds: check_gaze_in_range(builds.folder("gaze_labels")),
        ),
        StepCheck(
            "gaze_complete",
            "Every frame of every clip has a gaze.",
            blocking=True,
            check=lambda builds: check_labels_complete(builds.folder("clips"), builds.folder("gaze_labels")),
        ),
    ),
    "eye_anchors": (
        StepCheck(
            "anchors_verified",
            "The measured errors of every anchor are within their bounds.",
            blocking=True,
            check=lambda builds: check_anchors_verified(
                builds.folder("eye_anchors"), builds.settings.eye_anchors
            ),
        ),
    ),
    "shards": (
        StepCheck(
            "most_clips_packed",
            "At most half of the clips were left out because of their lip sync.",
            blocking=False,
            check=lambda builds: check_clips_left_out(builds.published("shards")),
        ),
        StepCheck(
            "checksums",
            "Every shard exists and has the sha256 of its manifest.",
            blocking=True,
            check=lambda builds: check_checksums(builds.published("shards")),
        ),
    ),
}
