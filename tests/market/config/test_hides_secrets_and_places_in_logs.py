"""What a log line may hold."""

import io
import json
import logging
import logging.config
from collections.abc import Iterator

import pytest
import structlog
from django.test import RequestFactory

from market.config import logs

KEY = "test_agent_" + "k" * 43


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The text of a logger that is set up as in production, put back afterwards."""
    text = io.StringIO()
    configuration = logs.configure(style="json")
    formatter = configuration["formatters"]["structured"]  # type: ignore[index]
    handler = logging.StreamHandler(text)
    handler.setFormatter(formatter["()"](**{name: value for name, value in formatter.items() if name != "()"}))
    logger = logging.getLogger("tests.logs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield text
    logger.removeHandler(handler)
    logger.propagate = True


def test_writes_json_with_the_request_id(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        structlog.get_logger("tests.logs").info("bounty_posted", bounty="bty_1")

    line = json.loads(stream.getvalue())
    assert (line["event"], line["bounty"], line["request_id"], line["level"]) == ("bounty_posted", "bty_1", "req_1", "info")


@pytest.mark.parametrize(
    ("event", "forbidden"),
    [
        ({"api_key": KEY}, KEY),
        ({"note": f"sent {KEY} by mistake"}, KEY),
        ({"headers": {"Authorization": f"Bearer {KEY}"}}, KEY),
        ({"url": "postgresql://market:s3cret@host/name"}, "s3cret"),
        ({"path": "/v1/media/WyIwMWEy:1xVS03:Uqi3"}, "Uqi3"),
        ({"path": "/photos/WyIwMWEy:1xVS03:Uqi3"}, "Uqi3"),
        ({"request": RequestFactory().get("/v1/lease_files/WyIwMWEy:1xVS03:Uqi3")}, "Uqi3"),
        ({"place": {"latitude": 52.52}}, "52.52"),
        ({"reported": [{"lat": 52.52}]}, "52.52"),
        ({"photo": "pixels"}, "pixels"),
        ({"content": b"\xff\xd8pixels"}, "pixels"),
    ],
)
def test_hides(stream: io.StringIO, event: dict[str, object], forbidden: str) -> None:
    structlog.get_logger("tests.logs").info("something", **event)

    assert forbidden not in stream.getvalue()


def test_hides_in_plain_log_lines_too(stream: io.StringIO) -> None:
    logging.getLogger("tests.logs").warning("refused %s", KEY)

    assert KEY not in stream.getvalue()
    assert logs.HIDDEN in stream.getvalue()
