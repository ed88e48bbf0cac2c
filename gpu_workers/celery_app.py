"""The Celery application of GPU workers: a doorbell that wakes them, with a broker of its own and no results.

Start it with `celery -A gpu_workers.celery_app worker --queues gpu --pool solo`: one process a GPU. CUDA must never be touched in
the parent of a forking pool, and solo has none.
"""

from celery import Celery, signals

from gpu_workers import environment, jobs

app = Celery("gpu", broker=environment.broker_url(), set_as_current=False)
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_default_queue="gpu",
    task_create_missing_queues=False,
    task_ignore_result=True,
    # A bell is done with when the work is: a worker that is killed leaves it to the next one, who finds nothing or the rest.
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    # The broker's user may touch keys of this prefix alone, so nothing may speak over channels of other names.
    broker_transport_options={"global_keyprefix": environment.KEY_PREFIX},
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=True,
)


@app.task(name="gpu.work_vision")
def work_vision(**_kwargs: object) -> None:
    """Work until no vision run is ready."""
    jobs.attendant().drain()


@app.task(name="gpu.work_replay")
def work_replay(**_kwargs: object) -> None:
    """Wake the trusted replay pool."""
    jobs.attendant().ring_replay()


@signals.worker_init.connect
def _check_environment(**_kwargs: object) -> None:
    try:
        jobs.attendant()
    except environment.EnvironmentIncomplete as incomplete:
        # Celery would log any other exception of a signal and go on without a market.
        raise SystemExit(str(incomplete)) from None


@signals.worker_ready.connect
def _open_for_work(**_kwargs: object) -> None:
    jobs.attendant().start()


@signals.worker_shutting_down.connect
def _finish_batch(**_kwargs: object) -> None:
    jobs.attendant().ask_to_stop()


@signals.worker_shutdown.connect
def _close(**_kwargs: object) -> None:
    jobs.attendant().stop()
