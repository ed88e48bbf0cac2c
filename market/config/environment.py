"""The settings the environment may give, typed and read once; `market.config.settings` turns them into Django's."""

from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]


class Environment(BaseSettings):
    """Every variable the market reads. Names are upper case in the environment."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    atoms_env: Literal["local", "test", "production"] = "local"
    # postgresql://user@host/name, or with a socket folder: postgresql://user@%2Frun%2Fdir/name
    database_url: str = "postgresql://postgres@%2Ftmp%2Fatoms/atoms"
    # Broker, cache and rate limits.
    redis_url: str = "redis://127.0.0.1:6379/0"
    # The GPU workers' own broker user and prefix; the main one if not set.
    gpu_redis_url: str = ""
    atoms_secret_key: str = ""
    atoms_public_url: str = "http://127.0.0.1:8000"
    atoms_allowed_hosts: str = "127.0.0.1,localhost"
    # Where originals and display copies are kept, by digest.
    atoms_media_dir: Path = ROOT / ".atoms" / "media"
    # GeoJSON files of an operator's own restricted places, beside those of market.policy; split by ':'.
    atoms_restricted_places: str = ""
    # 32-byte Ed25519 seed, base64, that signs receipts.
    atoms_receipt_seed: str = ""
    # "host:port,..." that webhooks may reach on loopback or by plain http while developing; a system check refuses it in production.
    atoms_egress_test_hosts: str = ""
    # Reverse proxies whose X-Forwarded-For is believed; 0 = none.
    atoms_trusted_proxies: int = 0


ENVIRONMENT = Environment()
