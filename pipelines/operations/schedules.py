"""Schedules. Their times are settings (`OperationsSettings`)."""

from dagster import DefaultScheduleStatus, RunRequest, ScheduleDefinition, ScheduleEvaluationContext

from pipelines.deployed_settings import deployed
from pipelines.jobs import train_all
from pipelines.operations.settings import OperationsSettings
from pipelines.partitions import add_training_run
from training.jobs.config import TrainingConfig


def nightly_reprocessing(settings: OperationsSettings) -> ScheduleDefinition:
    """Plans the rebuild of stale batches at night."""
    return ScheduleDefinition(
        name="nightly_reprocessing",
        job_name="reprocess_stale",
        cron_schedule=settings.reprocessing_cron,
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description="Lists stale batches; the sensor planned_batches then starts their runs.",
    )


def weekly_training(settings: OperationsSettings) -> ScheduleDefinition:
    """Trains the deployment's run; stages that are up to date are skipped."""

    def request_run(context: ScheduleEvaluationContext) -> RunRequest:
        run = deployed(TrainingConfig).run
        add_training_run(context.instance, run)
        return RunRequest(partition_key=run)

    return ScheduleDefinition(
        name="weekly_training",
        job=train_all,
        execution_fn=request_run,
        cron_schedule=settings.training_cron,
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.STOPPED,
        description="Stopped by default. Trains the stages of the deployment's run that are not up to date.",
    )


def weekly_gc(settings: OperationsSettings) -> ScheduleDefinition:
    """Removes unreferenced builds."""
    return ScheduleDefinition(
        name="weekly_gc",
        job_name="collect_garbage",
        cron_schedule=settings.gc_cron,
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.STOPPED,
        run_config={"ops": {"collect_garbage": {"config": {"remove": True}}}},
        description="Stopped by default. Removes old unreferenced builds, as pdfgc gc --remove does.",
    )


def nightly_verify(settings: OperationsSettings) -> ScheduleDefinition:
    """Verifies what is published, and reads a share of it."""
    return ScheduleDefinition(
        name="nightly_verify",
        job_name="verify_files",
        cron_schedule=settings.verify_cron,
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.STOPPED,
        description="Stopped by default. Checks everything by name and size and reads 5 % of the files "
        "again, as pdfgc verify --read-data=5% does.",
    )
