"""Stage 1's identity loss: numbers of the people, the loss, the classifier's life in a run."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from upath import UPath

from storage.root import local_copy
from tests.factories.training.data import READER, make_data_set
from tests.factories.training.stages import TOY, random_frames, random_landmarks, row_facts
from tests.factories.training.toy_run import CONFIG, LOGGING, TOY_RUN, same, toy_parents
from training.data.batches import ClipPairs
from training.data.index import Split, read_clip_index
from training.data.shard_reader import ShardReader
from training.data.sources import ClipPairSettings, ClipPairSource
from training.engine.stage_weights import StageWeights, read_weights
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS
from training.jobs.stage_run import reload_stage, run_stage
from training.jobs.worker import train
from training.losses.pictures.identity import identity_loss
from training.runs.preset import RunPreset
from training.stages.stage import StageContext
from training.stages.stage1_motion import MotionModel, MotionStage, MotionStageSettings, MotionWeights

PEOPLE = ("anna", "bert", "carl", "carl face 3")  # of the made data set's training split
IDENTITY_ALONE = MotionWeights(phi=0, psi=0, vgg=0, adversarial=0, feature_matching=0, identity=1)


def with_identity_loss(run: RunPreset = TOY_RUN) -> RunPreset:
    stage = run.stages["stage1_motion"]
    settings = stage.settings.replace(weights=stage.settings.weights.replace(identity=1.0))
    return dataclasses.replace(
        run,
        stages={**run.stages, "stage1_motion": dataclasses.replace(stage, settings=settings)},
        logging=LOGGING.replace(workers=0, held_out_every_steps=0),
    )


def trained(root: UPath, run: str, steps: int) -> StageWeights:
    """The weights of a toy run of stage 1; a run of fewer steps is extended."""

    def launch(job: Path, processes: int) -> None:
        assert processes == 1
        train(TrainingJob.read(job))

    config = CONFIG.replace(run=run, parents_run="toy", steps=steps)
    published = run_stage(root, "stage1_motion", config, launch)
    return read_weights(local_copy(published.directory) / "weights.safetensors")


def test_identity_loss_by_hand() -> None:
    even = torch.zeros(2, 5)
    assert identity_loss(even, torch.tensor([0, 4])).item() == pytest.approx(math.log(5))
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.bfloat16)
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    loss = identity_loss(logits, torch.tensor([0, 0]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_pairs_carry_the_number_of_their_person(tmp_path: Path, split: Split) -> None:
    index = read_clip_index(make_data_set(tmp_path), tmp_path, split)
    assert index.training_identities == PEOPLE
    source, reader = ClipPairSource(index, ClipPairSettings()), ShardReader(index, READER)
    for clip in range(len(index)):
        batch = source.read(reader, clip, np.random.default_rng(0), row_facts(1, keys=[index.key(clip)]))
        assert batch.identity.dtype == torch.int64
        name = index.identity(clip)
        assert batch.identity.tolist() == [PEOPLE.index(name) if split == "train" else -1]


def test_identity_loss_trains_encoder_and_classifier() -> None:
    torch.manual_seed(0)
    settings = MotionStageSettings(weights=IDENTITY_ALONE)
    stage = MotionStage(StageContext(TOY, toy_parents()), settings)
    model = stage.model
    assert isinstance(model, MotionModel)
    classifier = model.add_classifier(4)
    batch = ClipPairs(
        row_facts(3),
        appearance=random_frames(3, seed=1),
        driving=random_frames(3, seed=2),
        appearance_landmarks_px=random_landmarks(3),
        landmarks_px=random_landmarks(3),
        identity=torch.tensor([2, 0, 3]),
    )
    losses = model.train()(batch).losses
    assert set(losses) == {"identity"}
    losses["identity"].backward()
    assert classifier.weight.grad is not None
    assert [bool(row.any()) for row in classifier.weight.grad] == [True] * 4
    for name, value in model.appearance.model.named_parameters():
        assert value.grad is not None, name
        assert value.grad.any(), name
    assert all(value.grad is None for value in model.generator.parameters())


@pytest.mark.usefixtures("toy_presets")
def test_classifier_is_saved_and_resumed(toy_root: UPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", with_identity_loss())
    at_once = trained(toy_root, "classifier", 2)
    trained(toy_root, "extended-classifier", 1)
    extended = trained(toy_root, "extended-classifier", 2)
    width = TOY.style_widths.appearance
    assert at_once.tensors["classifier.weight"].shape == (len(PEOPLE), width)
    same(dict(at_once.tensors), dict(extended.tensors))
    reload_stage(toy_root, "stage1_motion", "classifier")


@pytest.mark.usefixtures("toy_presets")
def test_classifier_exists_only_where_it_is_used(toy_root: UPath, monkeypatch: pytest.MonkeyPatch) -> None:
    logging = LOGGING.replace(workers=0, held_out_every_steps=0)
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", dataclasses.replace(TOY_RUN, logging=logging))
    assert not trained(toy_root, "no-classifier", 1).has("classifier")
