"""Settings of a deployment's automatic work: sensors, schedules, retries and alerts."""

from pydantic import Field, SecretStr

from storage.settings import Settings


class OperationsSettings(Settings):
    """Sensors, schedules, retries and messages. Read once, when the definitions are loaded."""

    scan_every_seconds: int = Field(
        default=60, ge=5, le=86400, description="Interval at which the sensor new_videos lists the folders"
    )
    settle_seconds: int = Field(
        default=60,
        ge=0,
        description="The sensor skips videos modified more recently than this: they may still be uploading",
    )
    batches_in_flight: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Maximum number of batches that sensors keep queued or running",
    )
    reprocessing_cron: str = Field(
        default="0 2 * * *", description="Cron schedule of reprocessing stale batches"
    )
    training_cron: str = Field(
        default="0 4 * * 6",
        description="Cron schedule of train_all (schedule weekly_training, off by default)",
    )
    gc_cron: str = Field(
        default="0 6 * * 0",
        description="Cron schedule of garbage collection (schedule weekly_gc, off by default)",
    )
    verify_cron: str = Field(
        default="0 3 * * *",
        description="Cron schedule of verification (schedule nightly_verify, off by default)",
    )
    timezone: str = Field(default="UTC", description="Time zone of the schedules, such as Europe/Vienna")
    retrain_share: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        description="Share of samples that must have changed since the last training before the sensor "
        "dataset_changed trains again (off by default)",
    )
    retries: int = Field(
        default=3,
        ge=0,
        description="Retries of a step after a transient error, such as a lost connection",
    )
    retry_seconds: float = Field(
        default=10.0,
        ge=0.0,
        description="Wait before the first retry; doubles with each further one",
    )
    progress_seconds: float = Field(
        default=15.0, ge=1.0, description="Interval of progress lines in the log of a training run"
    )
    picture_seconds: float = Field(
        default=60.0,
        ge=1.0,
        description="Interval of pictures of losses and samples on a stage's asset page, about 50 KB each",
    )
    training_film: bool = Field(
        default=True,
        description="Render one held-out person at every checkpoint of the last stage, and read its control "
        "matrix: some seconds each",
    )
    webhook: SecretStr = Field(
        default=SecretStr(""),
        description="URL that receives {text, run, job, url} as JSON for every failed run; empty: none. "
        "It is never shown",
    )
    webserver: str = Field(
        default="http://localhost:3000",
        description="Public URL of Dagster's UI, with its path if it has one, for links. `pdfgc dev` sets "
        "the port that it serves on",
    )
    allowed_hosts: str = Field(
        default="",
        description="Host names, separated by commas, under which Dagster's UI is served beside localhost "
        "and the host of `webserver`, such as pdfgc.example.org; other names are refused",
    )
