"""Waits for processes by asking them to work, never by sleeping and hoping."""

import secrets
import time
import urllib.request

import celery
import redis
from kombu.exceptions import KombuError

from market.config import brokers
from market.config.supervisor import children, refusal, stopping

WEB_WITHIN_S = 60.0
WORKER_WITHIN_S = 60.0
# Its first start reads torch and the models from disk.
GPU_WITHIN_S = 180.0


def for_end(child: children.Child) -> None:
    """Wait until a program has done its work.

    Raises:
        Refused: it failed; with the end of its log.
    """
    while child.exit_code is None:
        stopping.pause(children.POLL_S)
    if child.exit_code != 0:
        raise refusal.Refused(f"The step {child.program.name} failed (exit code {child.exit_code}); its log ends so:\n{child.last_words()}")


def for_web(child: children.Child, *, url: str) -> None:
    """Wait for the first answer over HTTP.

    Raises:
        Refused: the server ended, or does not answer in time.
    """
    end_s = time.monotonic() + WEB_WITHIN_S
    while True:
        _still_running(child, end_s)
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:  # noqa: S310 - our own http address
                if answer.status == 200:
                    return
        except OSError:
            stopping.pause(children.POLL_S)


def for_worker(child: children.Child, *, redis_url: str) -> None:
    """Send the worker a job and wait for its effect; the question is new each time, so no earlier answer counts.

    Raises:
        Refused: the worker ended, or does not do the job in time.
    """
    question = secrets.token_hex(8)
    end_s = time.monotonic() + WORKER_WITHIN_S
    _send(redis_url, "config.answer", queue="default", prefix="", question=question)
    with redis.Redis.from_url(redis_url, socket_timeout=5) as client:
        while not client.exists(f"answered:{question}"):
            _still_running(child, end_s)
            stopping.pause(children.POLL_S)


def for_gpu_worker(child: children.Child, *, redis_url: str) -> None:
    """Ring the GPU workers' doorbell and wait until the bell was taken and answered: no message waits, none is unacknowledged.

    Raises:
        Refused: the worker ended, or does not answer in time.
    """
    end_s = time.monotonic() + GPU_WITHIN_S
    _send(redis_url, "gpu.work_vision", queue="gpu", prefix=brokers.GPU_PREFIX)
    with redis.Redis.from_url(redis_url, socket_timeout=5) as client:
        while client.llen(f"{brokers.GPU_PREFIX}gpu") or client.hlen(f"{brokers.GPU_PREFIX}unacked"):
            _still_running(child, end_s)
            stopping.pause(children.POLL_S)


def _send(redis_url: str, job: str, *, queue: str, prefix: str, **arguments: str) -> None:
    app = celery.Celery("supervisor", broker=brokers.celery_url(redis_url), set_as_current=False)
    app.conf.update(broker_transport_options={"global_keyprefix": prefix, "socket_timeout": 5, "socket_connect_timeout": 5})
    try:
        with app.connection_for_write() as connection:
            app.send_task(job, kwargs=arguments, queue=queue, connection=connection, ignore_result=True)
    except (KombuError, OSError, redis.RedisError) as error:
        raise refusal.Refused(f"The broker does not take the job {job}: {error}") from error
    finally:
        app.close()


def _still_running(child: children.Child, end_s: float) -> None:
    if child.exit_code is not None:
        raise refusal.Refused(
            f"{child.program.name} ended at its start (exit code {child.exit_code}); its log ends so:\n{child.last_words()}"
        )
    if time.monotonic() > end_s:
        raise refusal.Refused(f"{child.program.name} does not answer in time; its log ends so:\n{child.last_words()}")
