"""The secrets of a local market: made once, kept in one file that only its owner reads."""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from market.config.supervisor import refusal


class Credentials(TypedDict):
    """What `secrets.json` holds."""

    secret_key: str
    # 32-byte Ed25519 seed, base64.
    receipt_seed: str
    postgres_superuser_password: str
    postgres_password: str
    valkey_password: str
    gpu_valkey_password: str


def load_or_make(path: Path) -> Credentials:
    """Return the secrets, making those that are missing.

    Raises:
        Refused: the file is there and cannot be read; a new one would lock the old data out.
    """
    made: Credentials = {
        "secret_key": secrets.token_urlsafe(50),
        "receipt_seed": base64.b64encode(secrets.token_bytes(32)).decode(),
        "postgres_superuser_password": secrets.token_urlsafe(24),
        "postgres_password": secrets.token_urlsafe(24),
        "valkey_password": secrets.token_urlsafe(24),
        "gpu_valkey_password": secrets.token_urlsafe(24),
    }
    if path.exists():
        try:
            kept = json.loads(path.read_text())
            made.update({name: kept[name] for name in made if name in kept})  # type: ignore[typeddict-item]
        except (OSError, ValueError, TypeError) as error:
            raise refusal.Refused(f"{path} cannot be read ({error}). Restore it, or remove the whole folder to start empty.") from error
    write_private(path, as_text(made))
    return made


def read_strings(path: Path) -> dict[str, str]:
    """Return the names and texts of such a file; nothing if it is missing or broken."""
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in kept.items() if isinstance(value, str)} if isinstance(kept, dict) else {}


def as_text(values: Mapping[str, object]) -> str:
    """Write values as `read_strings` reads them."""
    return json.dumps(values, indent=1)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 600 in one step: a reader sees the old text or the new, also after a crash."""
    unfinished = path.with_suffix(".new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
