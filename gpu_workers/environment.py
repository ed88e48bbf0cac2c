"""What a GPU worker reads from its environment: the market's address, a lease key and a doorbell. Never a database."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

# Kept away from the keys of the market's own broker; `verification.dispatch` rings with the same prefix.
KEY_PREFIX = "atoms-gpu:"


class EnvironmentIncomplete(Exception):
    """A variable is missing or no number; the message says which and what to set."""


@dataclass(frozen=True)
class Environment:
    """A worker's settings.

    `poll_s`: how often the worker asks for work though no doorbell rang, in seconds. `torch_threads`: CPU threads of one forward
    pass. `decoders`: child processes that open photographs. `replay_key`: of the trusted replay pool; without it this worker takes no
    replay jobs.
    """

    market_url: str
    lease_key: str
    broker_url: str
    holder: str
    poll_s: float
    torch_threads: int
    decoders: int
    replay_key: str


def broker_url(variables: Mapping[str, str] = os.environ) -> str:
    """Give the address of the doorbell's Redis.

    Raises:
        EnvironmentIncomplete: ATOMS_GPU_REDIS_URL is missing.
    """
    return _required(variables, "ATOMS_GPU_REDIS_URL", "the Redis address of the gpu queue, e.g. redis://gpu:password@host:6379/0")


def read(variables: Mapping[str, str] = os.environ) -> Environment:
    """Read the settings.

    Raises:
        EnvironmentIncomplete: a variable is missing or malformed.
    """
    cores = len(os.sched_getaffinity(0))
    return Environment(
        market_url=_required(variables, "ATOMS_URL", "the market's address, e.g. https://market.example"),
        lease_key=_required(variables, "ATOMS_LEASE_KEY", "an API key of scope lease:vision"),
        broker_url=broker_url(variables),
        holder=variables.get("ATOMS_GPU_HOLDER") or f"{socket.gethostname()}:{os.getpid()}"[:80],
        poll_s=_positive(variables, "ATOMS_GPU_POLL_S", 5.0),
        torch_threads=int(_positive(variables, "ATOMS_GPU_TORCH_THREADS", max(1, cores // 2))),
        decoders=int(_positive(variables, "ATOMS_GPU_DECODERS", min(8, max(1, cores // 2)))),
        replay_key=variables.get("ATOMS_REPLAY_LEASE_KEY", "").strip(),
    )


def _required(variables: Mapping[str, str], name: str, meaning: str) -> str:
    value = variables.get(name, "").strip()
    if not value:
        raise EnvironmentIncomplete(f"Set {name}: {meaning}.")
    return value


def _positive(variables: Mapping[str, str], name: str, default: float) -> float:
    text = variables.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise EnvironmentIncomplete(f"Set {name} to a number from 0.1 to 3600; it is {text!r}.")
    return value
