"""The asset `accepted_run`: the run that later ones are held against."""

from dagster import AssetExecutionContext, Config, DataVersion, asset
from pydantic import Field

from evaluation.generation.newest_run import with_run
from evaluation.records import SCHEMA
from evaluation.report.summary import EVALUATION_REPORT
from pipelines.evaluation.acceptance import AcceptanceRules, accept_unless_worse, acceptance_metadata
from pipelines.evaluation.report import evaluation_report
from pipelines.materialised import Materialised
from pipelines.operations.retries import tried_again
from pipelines.resources import Evaluation, Workspace
from pipelines.table_columns import column_schema


class AcceptForm(Config):
    """What a person says who accepts a run."""

    note: str = Field(description="Why this run is accepted; stands in the history")
    even_if_worse: bool = Field(
        default=False, description="Accept it even if it is worse than the run accepted before"
    )


@asset(
    deps=[evaluation_report],
    group_name="evaluation",
    kinds={"json", "parquet"},
    owners=["team:evaluation"],
    metadata={"dagster/column_schema": column_schema(SCHEMA)},
)
def accepted_run(
    context: AssetExecutionContext,
    config: AcceptForm,
    workspace: Workspace,
    evaluation_choice: Evaluation,
    acceptance: AcceptanceRules,
) -> Materialised:
    """The run that every later evaluation is held against: materialising this accepts a run's report.

    The comparison is made anew, and a run that is worse is refused unless `even_if_worse` is set. Figures are
    copied into the history under `accepted/`, so that they stay when the run is trained anew.
    """
    root = workspace.open()
    run = with_run(root, evaluation_choice.to_choice(), EVALUATION_REPORT).run
    with tried_again(context):
        accepted, against = accept_unless_worse(
            root, run, config.note, acceptance.to_settings(), even_if_worse=config.even_if_worse
        )
    context.log.info("run %s is accepted: %s", run, accepted.note)
    return Materialised(
        metadata=acceptance_metadata(root, accepted, against),
        data_version=DataVersion(accepted.report_content),
    )
