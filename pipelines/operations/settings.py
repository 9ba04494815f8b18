"""What a deployment decides of the work that nobody starts by hand."""

from dataclasses import dataclass

from storage.settings import setting


@dataclass(frozen=True)
class OperationsSettings:
    """Sensors, schedules, retries and messages. Read once, when the definitions are loaded."""

    scan_every_seconds: int = setting(
        60, "How often the sensor new_videos lists the folders of videos", minimum=5, maximum=86400
    )
    settle_seconds: int = setting(
        60, "A video that changed more lately than this is still being copied and left alone", minimum=0
    )
    batches_in_flight: int = setting(
        4, "Batches that sensors keep queued or running at once; the rest waits", minimum=1, maximum=1000
    )
    reprocessing_cron: str = setting("0 2 * * *", "When stale batches are made again (schedule)")
    training_cron: str = setting(
        "0 4 * * 6", "When train_all starts (schedule weekly_training, off at first)"
    )
    collection_cron: str = setting(
        "0 6 * * 0", "When old files are collected (schedule weekly_collection, off at first)"
    )
    timezone: str = setting("UTC", "Of the schedules, such as Europe/Vienna")
    retrain_share: float = setting(
        0.1,
        "Share of the data set's samples that must differ from those last trained on before the sensor "
        "dataset_changed trains again (off at first)",
        minimum=0.0,
        maximum=1.0,
    )
    retries: int = setting(
        3, "How often a step is tried again after what can pass: a lost connection, a busy disk", minimum=0
    )
    retry_seconds: float = setting(
        10.0, "Wait before the first new try; twice as long before each further one", minimum=0.0
    )
    progress_seconds: float = setting(
        15.0, "Between two lines of a training run's progress in its log", minimum=1.0
    )
    picture_seconds: float = setting(
        60.0,
        "Between two looks at a training run's losses and samples on its asset's page, some 50 KB each",
        minimum=1.0,
    )
    webhook: str = setting(
        "", "URL that gets a JSON message {text, run, job, url} of every run that failed; empty: none"
    )
    webserver: str = setting(
        "http://localhost:3000", "Where people open the UI; stands in messages of failed runs"
    )
