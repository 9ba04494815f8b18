"""Preset `tiny_cpu`: every stage at 64 px on a CPU, in minutes.

    pdfgc train all --preset tiny_cpu

Time: 6 minutes on two cores (`make demo` takes 10, `docs/measured.md`).
Expected metrics: on new people a face in every frame, which follows the driver's head and, from the sound,
its mouth.

E_mot's trunk is MediaPipe's face mesh and iris networks (networks `tiny_mesh`): the demo's few people do not
train one of our own.

The losses are the paper's and ours; weights, learning rates and sizes are ours, chosen on the demo corpus for
short runs.
"""

from typing import Final

from training.data.lip_windows import LipWindowSettings
from training.data.sources import ClipPairSettings, ExpressionWindowSettings
from training.engine.settings import LoggingConfig, OptimizerSettings, TrainerSettings
from training.losses.codes.pose import PoseScale
from training.runs.preset import RunPreset, StageRun
from training.stages.expression_model import ExpressionStageSettings, ExpressionWeights
from training.stages.perception import PerceptionStageSettings, PerceptionWeights
from training.stages.pictures.flow_fit import FlowFitSettings
from training.stages.pictures.picture_losses import PictureSettings
from training.stages.stage1_motion import MotionStageSettings, MotionWeights
from training.stages.stage2_eye import EyeStageSettings
from training.stages.stage2_lip import LipStageSettings
from training.stages.stage2_pose import PoseStageSettings

_QUICK: Final = OptimizerSettings(learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=0.0)
_HEAD: Final = OptimizerSettings(
    learning_rate=2e-3, betas=(0.9, 0.99), weight_decay=1e-4, decay_every_steps=150, decay_factor=0.4
)
_GENERATOR: Final = _QUICK.replace(learning_rate=2e-3)
# The discriminator and random VGG filters cost more than the generator and add little in minutes.
_PICTURE_WEIGHTS: Final = {
    "pixel": 10.0,
    "edges": 10.0,
    "phi": 0.5,
    "psi": 2.0,
    "gaze": 3.0,
    "lids": 8.0,
    "flow": 100.0,
    "flow_local": 100.0,
    "vgg": 0.0,
    "adversarial": 0.0,
    "feature_matching": 0.0,
}
_PICTURES: Final = PictureSettings(face_rows=2, eye_weight=10.0, mouth_weight=6.0)
# Seconds, in which the flow learns more than in stage 1's steps (docs/training.md).
_FLOW_FIT: Final = FlowFitSettings(steps=600, local_weight=2.0)
# Half a second apart, so that there is motion to transfer.
_PAIRS: Final = ClipPairSettings(minimum_gap_frames=12)
# Heads turn by tenths of a radian and move by centimetres: about 1 in these units, the size of the style
# vector's other codes.
_POSE_SCALE: Final = PoseScale(angle_rad=0.2, translation_cm=2.0)

RUN: Final = RunPreset(
    networks="tiny_mesh",
    stages={
        # Heads alone, on numbers: the trunk is MediaPipe's (`tiny_mesh`).
        "perception": StageRun(
            PerceptionStageSettings(
                weights=PerceptionWeights(landmarks=5.0, pose=3.0, gaze=20.0, blink=10.0),
                pose_scale=_POSE_SCALE,
                cache_features=True,
                optimizer=OptimizerSettings(
                    learning_rate=1e-3,
                    betas=(0.9, 0.99),
                    weight_decay=0.0,
                    decay_every_steps=80,
                    decay_factor=0.5,
                ),
            ),
            TrainerSettings(steps=200, batch_size=16),
        ),
        "stage1_motion": StageRun(
            MotionStageSettings(
                weights=MotionWeights(**_PICTURE_WEIGHTS),
                pictures=_PICTURES,
                pairs=_PAIRS,
                start_trunk_from_perception=True,
                generator_noise=False,
                generator_optimizer=_GENERATOR,
                flow_fit=_FLOW_FIT,
                # In a run this short, reconstruction rewards hair and cheeks, for which the trunk forgets the
                # mouth and lids (docs/log.md): keep what perception learned.
                trunk_rate_factor=0.0,
                cache_features=True,
                optimizer=_QUICK,
            ),
            TrainerSettings(steps=300, batch_size=8, ema_decay=0.99),
        ),
        "stage2_lip": StageRun(
            LipStageSettings(
                windows=LipWindowSettings(from_same_clip=3, from_other_clips=0),
                temperature=0.1,
                negatives_from_batch=True,
                cache_features=True,
                optimizer=_HEAD,
            ),
            TrainerSettings(steps=400, batch_size=16),
        ),
        "stage2_eye": StageRun(
            # Sideways glances and blinks are enough to tell v1 from v2: L_eye alone omits those up and down.
            EyeStageSettings(temperature=0.1, readout=1.0, cache_features=True, optimizer=_HEAD),
            TrainerSettings(steps=400, batch_size=16),
        ),
        "stage2_pose": StageRun(
            PoseStageSettings(scale=_POSE_SCALE, cache_features=True, optimizer=_HEAD),
            TrainerSettings(steps=400, batch_size=32),
        ),
        "stage3_expression": StageRun(
            ExpressionStageSettings(
                weights=ExpressionWeights(
                    **_PICTURE_WEIGHTS, flow_bending=1.0, decorrelation=3.0, lip=0.5, expression_readout=1.0
                ),
                pictures=_PICTURES,
                generator_noise=False,
                generator_optimizer=_GENERATOR,
                # Codes of other people move what has no landmarks at random otherwise: outlines tear.
                flow_fit=_FLOW_FIT.replace(
                    steps=1_500, local_weight=6.0, bending_weight=0.01, expression=True
                ),
                # A code averaged over a clip does not change within it.
                windows=ExpressionWindowSettings(
                    minimum_gap_frames=_PAIRS.minimum_gap_frames, window_span_frames=16
                ),
                cache_features=True,
                memory_rows=256,
                optimizer=_QUICK,
            ),
            TrainerSettings(steps=450, batch_size=8, ema_decay=0.99),
        ),
    },
    default_trainer=TrainerSettings(steps=100, batch_size=8),
    logging=LoggingConfig(checkpoint_every_steps=150, samples_every_steps=150, held_out_rows=256, workers=1),
)
