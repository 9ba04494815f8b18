"""What happens by the clock. Times stand in the settings of operations."""

from dagster import DefaultScheduleStatus, ScheduleDefinition

from pipelines.operations.settings import OperationsSettings


def nightly_reprocessing(settings: OperationsSettings) -> ScheduleDefinition:
    """Look for stale batches at night."""
    return ScheduleDefinition(
        name="nightly_reprocessing",
        job_name="reprocess_stale",
        cron_schedule=settings.reprocessing_cron,
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description="Plans what must be made again; the sensor planned_batches starts it.",
    )


def weekly_training(settings: OperationsSettings) -> ScheduleDefinition:
    """Train the deployment's run again; up-to-date stages find nothing to do."""
    return ScheduleDefinition(
        name="weekly_training",
        job_name="train_all",
        cron_schedule=settings.training_cron,
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.STOPPED,
        description="Off at first. Trains every stage whose data set or settings changed.",
    )


def weekly_collection(settings: OperationsSettings) -> ScheduleDefinition:
    """Remove what nothing refers to."""
    return ScheduleDefinition(
        name="weekly_collection",
        job_name="collect_garbage",
        cron_schedule=settings.collection_cron,
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.STOPPED,
        run_config={"ops": {"collect_garbage": {"config": {"remove": True}}}},
        description="Off at first. Removes old builds that nothing refers to, as `pdfgc gc --remove` does.",
    )
