"""What a deployment decides of the work that nobody starts by hand."""

from pydantic import Field

from storage.settings import Settings


class OperationsSettings(Settings):
    """Sensors, schedules, retries and messages. Read once, when the definitions are loaded."""

    scan_every_seconds: int = Field(
        default=60, ge=5, le=86400, description="How often the sensor new_videos lists the folders of videos"
    )
    settle_seconds: int = Field(
        default=60,
        ge=0,
        description="A video that changed more lately than this is still being copied and left alone",
    )
    batches_in_flight: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Batches that sensors keep queued or running at once; the rest waits",
    )
    reprocessing_cron: str = Field(
        default="0 2 * * *", description="When stale batches are made again (schedule)"
    )
    training_cron: str = Field(
        default="0 4 * * 6", description="When train_all starts (schedule weekly_training, off at first)"
    )
    collection_cron: str = Field(
        default="0 6 * * 0",
        description="When old files are collected (schedule weekly_collection, off at first)",
    )
    timezone: str = Field(default="UTC", description="Of the schedules, such as Europe/Vienna")
    retrain_share: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        description="Share of samples that must differ from the data set last trained on before the sensor "
        "dataset_changed trains again (off at first)",
    )
    retries: int = Field(
        default=3,
        ge=0,
        description="How often a step is tried again after what can pass: a lost connection, a busy disk",
    )
    retry_seconds: float = Field(
        default=10.0,
        ge=0.0,
        description="Wait before the first new try; twice as long before each further one",
    )
    progress_seconds: float = Field(
        default=15.0, ge=1.0, description="Between two lines of a training run's progress in its log"
    )
    picture_seconds: float = Field(
        default=60.0,
        ge=1.0,
        description="Interval of pictures of losses and samples on a stage's asset page, about 50 KB each",
    )
    webhook: str = Field(
        default="",
        description="URL that receives {text, run, job, url} as JSON for every failed run; empty: none",
    )
    webserver: str = Field(
        default="http://localhost:3000",
        description="Where people open the UI; stands in messages of failed runs",
    )
