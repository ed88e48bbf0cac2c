"""Logs: structured events with ids, in JSON lines or for a person's eyes, without what must never be in them."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Literal, TypeAlias

import structlog

EventDict: TypeAlias = MutableMapping[str, object]

HIDDEN = "[hidden]"
# API keys, passwords inside addresses of services, and the signed ends of links to photographs.
SECRETS = re.compile(
    r"\b(?:test|live)_[a-z]+_[A-Za-z0-9_-]{43}|(?<=://)[^/@\s]*:[^/@\s]+(?=@)"
    r"|(?:(?<=/v1/media/)|(?<=/v1/lease_files/)|(?<=/photos/))[^\s'\"]+"
)
# Names of values that never leave the process: secrets, photographs, and where a person stood.
HIDDEN_NAMES = frozenset(
    {"authorization", "cookie", "set_cookie", "password", "secret", "api_key", "recovery_code", "signature", "seed"}
    | {"body", "raw", "photo", "exif"}
    | {"latitude", "longitude", "lat", "lon", "accuracy_m", "place", "reported_place"}
)


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Hide secrets, photographs and exact places, by name at any depth and by look in any text."""
    return {name: _hide(name, value) for name, value in event.items()}


def as_text(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Write objects, such as a request with its address, as text before `redact` looks at them."""
    plain = (str, int, float, type(None), Mapping, list, tuple, bytes, bytearray, memoryview)
    return {name: value if isinstance(value, plain) else repr(value) for name, value in event.items()}


def _hide(name: str, value: object) -> object:
    if name.lower().replace("-", "_") in HIDDEN_NAMES:
        return HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, str):
        return SECRETS.sub(HIDDEN, value)
    if isinstance(value, Mapping):
        return {key: _hide(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hide("", each) for each in value]
    return value


SHARED_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
]


def configure(*, style: Literal["json", "console"]) -> dict[str, object]:
    """Set structlog up and return Django's LOGGING, so that both speak alike."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *SHARED_PROCESSORS, redact, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: structlog.typing.Processor
    renderer = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=False)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*SHARED_PROCESSORS, structlog.stdlib.ExtraAdder(), redact],
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, as_text, redact, renderer],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            # Their every line at INFO is a heartbeat or a received doorbell.
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
        },
    }
