"""System checks of the environment: each half-set or wrong value stops the start and says what to set."""

import base64
import binascii
import urllib.parse
from collections.abc import Iterator, Sequence

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from market.config.environment import ENVIRONMENT, Environment, parts, public_key_of

SHORTEST_SECRET_KEY = 50
SEED_BYTES = 32
# Django names test databases so, and the ledger's triggers excuse TRUNCATE there.
TEST_DATABASE = "test_"


def check_environment(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Judge the environment this process was started with."""
    return list(faults_of(ENVIRONMENT))


def refuse_wrong_environment() -> None:
    """Stop a process that would serve with wrong settings: web servers run no system checks by themselves.

    Raises:
        ImproperlyConfigured: with every fault and its remedy.
    """
    found = list(faults_of(ENVIRONMENT))
    if found:
        raise ImproperlyConfigured("\n".join(f"({fault.id}) {fault.msg} {fault.hint}" for fault in found))


def faults_of(environment: Environment) -> Iterator[checks.Error]:
    """Yield what is wrong with an environment, in the order of the ids."""
    is_production = environment.atoms_env == "production"
    yield from _secret_faults(environment, is_production=is_production)
    yield from _service_faults(environment, is_production=is_production)
    yield from _address_faults(environment, is_production=is_production)


def _secret_faults(environment: Environment, *, is_production: bool) -> Iterator[checks.Error]:
    key = environment.atoms_secret_key
    if (is_production or key) and (len(key) < SHORTEST_SECRET_KEY or len(set(key)) < 5):
        yield checks.Error(
            f"ATOMS_SECRET_KEY is missing or shorter than {SHORTEST_SECRET_KEY} characters.",
            hint="Set it to the output of: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'",
            id="market.E002",
        )
    seed = environment.atoms_receipt_seed
    if (is_production or seed) and not _is_seed(seed):
        yield checks.Error(
            "ATOMS_RECEIPT_SEED is missing or not 32 bytes in base64, so receipts cannot be signed.",
            hint="Make one with `openssl rand -base64 32` and keep it: receipts signed with another are no longer ours.",
            id="market.E003",
        )
    for text in parts(environment.atoms_receipt_old_keys):
        if not _is_public_key(text):
            yield checks.Error(
                f"ATOMS_RECEIPT_OLD_KEYS names {text[:60]}, which is not a public key: receipts that it signed could not be checked.",
                hint="Set ATOMS_RECEIPT_OLD_KEYS to the public_key of each former key, as /v1/keys showed it, parted by commas.",
                id="market.E012",
            )


def _service_faults(environment: Environment, *, is_production: bool) -> Iterator[checks.Error]:
    database_url = environment.database_url
    if (is_production or database_url) and not database_url.startswith(("postgresql://", "postgres://")):
        yield checks.Error(
            "DATABASE_URL is missing or does not begin with postgresql://. The market runs on PostgreSQL alone.",
            hint="Set it to postgresql://user:password@host/name.",
            id="market.E004",
        )
    if is_production and _database_of(database_url).startswith(TEST_DATABASE):
        yield checks.Error(
            f"DATABASE_URL names the database {_database_of(database_url)}: where a name begins with {TEST_DATABASE}, "
            "the ledger lets itself be emptied.",
            hint="Set DATABASE_URL to a database with another name.",
            id="market.E013",
        )
    for name, url in (("REDIS_URL", environment.redis_url), ("ATOMS_GPU_REDIS_URL", environment.atoms_gpu_redis_url)):
        if (is_production or url) and not url.startswith(("redis://", "rediss://", "unix://")):
            yield checks.Error(
                f"{name} is missing or does not begin with redis://, rediss:// or unix://.",
                hint=f"Set {name} to redis://user:password@host:6379/0.",
                id="market.E005",
            )
    if is_production and environment.redis_url and environment.redis_url == environment.atoms_gpu_redis_url:
        yield checks.Error(
            "ATOMS_GPU_REDIS_URL is the same as REDIS_URL: whoever can write to the market's broker can run any of its jobs.",
            hint="Give the GPU workers a server of their own, or a user that may touch only keys and channels beginning with atoms-gpu:.",
            id="market.E006",
        )


def _address_faults(environment: Environment, *, is_production: bool) -> Iterator[checks.Error]:
    url = urllib.parse.urlsplit(environment.atoms_public_url)
    schemes = ["https"] if is_production else ["https", "http"]
    if url.scheme not in schemes or not url.hostname or url.path not in ("", "/"):
        yield checks.Error(
            f"ATOMS_PUBLIC_URL={environment.atoms_public_url} is not an {' or '.join(schemes)} address without a path.",
            hint="Set it to the address people and agents use, such as https://market.example.",
            id="market.E007",
        )
    hosts = parts(environment.atoms_allowed_hosts)
    is_covered = any(host == url.hostname or (host.startswith(".") and str(url.hostname).endswith(host)) for host in hosts)
    if is_production and ("*" in hosts or not is_covered):
        yield checks.Error(
            "ATOMS_ALLOWED_HOSTS does not name the host of ATOMS_PUBLIC_URL, or allows every host.",
            hint=f"Set ATOMS_ALLOWED_HOSTS={url.hostname or 'market.example'}.",
            id="market.E008",
        )
    if environment.atoms_media_dir is not None and not environment.atoms_media_dir.is_absolute():
        yield checks.Error(
            f"ATOMS_MEDIA_DIR={environment.atoms_media_dir} is relative: each process would keep photos in another folder.",
            hint="Set it to an absolute path.",
            id="market.E009",
        )
    if is_production and environment.atoms_media_dir is None:
        yield checks.Error(
            "ATOMS_MEDIA_DIR is missing: photos that money depends on would lie in the program's own folder.",
            hint="Set it to an absolute path on a disk with a backup.",
            id="market.E010",
        )
    if environment.atoms_trusted_proxies < 0:
        yield checks.Error(
            f"ATOMS_TRUSTED_PROXIES={environment.atoms_trusted_proxies} is negative.",
            hint="Set it to the number of reverse proxies in front of the market; 0 if there is none.",
            id="market.E011",
        )


def _is_seed(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == SEED_BYTES
    except binascii.Error:
        return False


def _is_public_key(text: str) -> bool:
    try:
        return bool(public_key_of(text))
    except ValueError:
        return False


def _database_of(url: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path.removeprefix("/"))
