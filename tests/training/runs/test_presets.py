import pytest

from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import toy_parents
from training.engine.optimizer import OptimizerStep
from training.jobs.plan import RUN_PRESETS
from training.stage_catalog import STAGE_NAMES
from training.stages.stage import LossModule, StageContext, stage_class

GENERATOR_STAGES = ("stage1_motion", "stage3_expression")


@pytest.mark.parametrize("stage_name", GENERATOR_STAGES)
@pytest.mark.parametrize("preset", RUN_PRESETS)
def test_presets_move_unit_variance_weights(preset: str, stage_name: str) -> None:
    run = RUN_PRESETS[preset].stage(stage_name)
    stage = stage_class(stage_name)(StageContext(TOY, toy_parents()), run.settings)
    step = OptimizerStep(stage.model, stage.model, {}, stage.optimizer, run.trainer)
    generator, discriminator = rates_and_decays(stage.model, step, "generator."), set[tuple[float, float]]()
    assert (stage.adversary is None) == (preset in ("tiny_cpu", "starter"))
    if stage.adversary is not None:
        assert stage.adversary_optimizer is not None
        step = OptimizerStep(stage.adversary, stage.adversary, {}, stage.adversary_optimizer, run.trainer)
        discriminator = rates_and_decays(stage.adversary, step, "")
        assert discriminator
    assert {decay for _, decay in generator | discriminator} == {0.0}
    ((rate, _),) = generator
    # Short runs take larger steps: the rule is that a weight can move by about its own size.
    assert rate == 2e-3 if preset != "tiny_cpu" else 0.5 < rate * run.trainer.steps < 5


def rates_and_decays(module: LossModule, step: OptimizerStep, prefix: str) -> set[tuple[float, float]]:
    """Learning rate and weight decay of every trained parameter whose name starts with the prefix."""
    groups = {
        parameter: (group["lr"], group["weight_decay"])
        for group in step.optimizer.param_groups
        for parameter in group["params"]
    }
    return {
        groups[value]
        for name, value in module.named_parameters()
        if name.startswith(prefix) and value.requires_grad
    }


CHANGED_IN_STARTER = {
    "stage2_lip": {"sound_augmentation"},
    "stage3_expression": {
        *(
            "weights",
            "flow_fit",
            "code_shares",
            "recolour",
            "sound_augmentation",
            "generator_optimizer",
        ),
    },
}


def test_starter_is_tiny_cpu_at_96_px_with_more_steps() -> None:
    starter, tiny = RUN_PRESETS["starter"], RUN_PRESETS["tiny_cpu"]
    assert starter.network_preset.image_side_px == 96
    assert set(starter.stages) == set(STAGE_NAMES)
    for name in STAGE_NAMES:
        run, base = starter.stage(name), tiny.stage(name)
        assert isinstance(run.settings, stage_class(name).settings_type)
        assert run.trainer.steps > base.trainer.steps
        differ = {
            field
            for field in stage_class(name).settings_type.model_fields
            if getattr(run.settings, field) != getattr(base.settings, field)
        }
        assert differ - {"optimizer"} == CHANGED_IN_STARTER.get(name, set())
        if name == "stage3_expression":  # whose generator slows down
            rate = run.settings.generator_optimizer.rate_at
            assert rate(0) == base.settings.generator_optimizer.rate_at(0)
            assert rate(run.trainer.steps - 1) == pytest.approx(0.4**2 * rate(0))
            shared = {"controls": 0.0, "flow_bending": 1.0}
            assert run.settings.weights.replace(**shared) == base.settings.weights


def test_default_settings_of_the_generator() -> None:
    for stage_name in GENERATOR_STAGES:
        settings = stage_class(stage_name).settings_type()
        assert (settings.generator_optimizer.learning_rate, settings.generator_optimizer.weight_decay) == (
            2e-3,
            0,
        )
        assert settings.adversary_optimizer.weight_decay == 0
