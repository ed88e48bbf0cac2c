"""The settings the environment may give, typed and read once; `market.config.settings` turns them into Django's."""

import base64
import os
from pathlib import Path
from typing import Literal

import pydantic
from django.core.exceptions import ImproperlyConfigured
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]
PUBLIC_KEY_BYTES = 32


class Environment(BaseSettings):
    """Every variable the market reads. Names are upper case in the environment; docs/operating.md tells each of them."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    atoms_env: Literal["local", "test", "production"] = "local"
    # postgresql://user@host/name, or with a socket folder: postgresql://user@%2Frun%2Ffolder/name
    database_url: str = ""
    # Broker, cache and rate limits: redis://, rediss:// or unix://user:password@/path?db=0
    redis_url: str = ""
    # The GPU workers' own broker, or the same server with a user that may touch only keys beginning "atoms-gpu:".
    atoms_gpu_redis_url: str = ""
    atoms_secret_key: str = ""
    atoms_public_url: str = "http://127.0.0.1:8000"
    # Parted by commas.
    atoms_allowed_hosts: str = "127.0.0.1,localhost"
    # Secrets, sockets, logs and, with embedded services, all data of a local market.
    atoms_data_dir: Path = ROOT / ".atoms"
    # Where originals and display copies are kept, by digest; below the data folder if not set.
    atoms_media_dir: Path | None = None
    # 32-byte Ed25519 seed, base64, that signs receipts.
    atoms_receipt_seed: str = ""
    # Public keys of earlier seeds, as /v1/keys shows them, parted by commas: what they signed stays checkable.
    atoms_receipt_old_keys: str = ""
    # Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; 0 = none.
    atoms_trusted_proxies: int = 0
    # GeoJSON files of further restricted places, parted by commas.
    atoms_restricted_places: str = ""
    # host:port pairs, parted by commas, that webhooks may reach though they are not public. Never in production.
    atoms_egress_test_hosts: str = ""
    # Granian's own variable: threads of each web process, of which a quarter is kept for requests that move money.
    granian_blocking_threads: int = 0
    # The test runner's process ("gw0"): each has a database of Redis to itself.
    pytest_xdist_worker: str = ""


def read() -> Environment:
    """Read the environment; a local market's own start leaves its addresses and secrets in a file that fills the gaps.

    Raises:
        ImproperlyConfigured: a variable has a value of the wrong kind; the message names each.
    """
    # With the file, `manage.py ledger_audit` beside a running local market needs no variables.
    local_file = Path(os.environ.get("ATOMS_DATA_DIR") or ROOT / ".atoms") / "environment"
    is_local = os.environ.get("ATOMS_ENV", "local") == "local" and os.access(local_file, os.R_OK)
    try:
        return Environment(_env_file=local_file if is_local else None)
    except pydantic.ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc'])).upper()}={str(each['input'])[:60]!r}: {each['msg']}." for each in error.errors()]
        raise ImproperlyConfigured(f"(market.E001) {' '.join(faults)} See docs/operating.md.") from None


def parts(text: str) -> list[str]:
    """Split a comma-parted value; blanks and empty parts do not count."""
    return [part.strip() for part in text.split(",") if part.strip()]


def public_key_of(text: str) -> bytes:
    """Read an Ed25519 public key as /v1/keys shows it: 32 bytes, base64url without padding.

    Raises:
        ValueError: it is something else.
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if len(raw) != PUBLIC_KEY_BYTES:
        raise ValueError(f"A public key has {PUBLIC_KEY_BYTES} bytes, not {len(raw)}.")
    return raw


ENVIRONMENT = read()
