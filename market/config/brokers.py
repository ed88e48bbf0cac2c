"""Redis addresses in the two spellings that its clients want. Standard library only."""

import urllib.parse

# The GPU workers' user of the broker may touch these keys and channels alone; `gpu_workers.environment` names it too.
GPU_PREFIX = "atoms-gpu:"


def celery_url(redis_url: str) -> str:
    """Turn an address of redis-py's into kombu's; they differ for sockets alone.

    ``unix://user:password@/path?db=1`` becomes ``redis+socket://user:password@/path?virtual_host=1``.
    """
    if not redis_url.startswith("unix://"):
        return redis_url
    parsed = urllib.parse.urlsplit(redis_url)
    database = urllib.parse.parse_qs(parsed.query).get("db", ["0"])[0]
    return f"redis+socket://{parsed.netloc}{parsed.path}?virtual_host={database}"


def with_database(redis_url: str, number: int) -> str:
    """Return the address of another numbered database of the same server."""
    parsed = urllib.parse.urlsplit(redis_url)
    if parsed.scheme == "unix":
        return parsed._replace(query=f"db={number}").geturl()
    return parsed._replace(path=f"/{number}").geturl()
