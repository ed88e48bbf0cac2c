"""Which user of this machine a sandbox becomes."""

import os
import secrets
from pathlib import Path

# Above every range that distributions, systemd and container managers hand out (systemd's UIDS-GIDS document ends at 1879048191).
FIRST = 1_900_000_000
COUNT = 100_000_000
# Fewer mapped ids than this belong to one user's own namespace, where root is nobody special.
_LEAST_MAPPED = 1000


def unprivileged_user() -> int:
    """Draw a user and group id that own nothing and run nothing else, to become before anything of a stranger runs.

    0 when this process can't become anybody: then it isn't root, or it is so only in a namespace of its own, and the sandbox keeps
    the user it has.
    """
    if os.geteuid() != 0:
        return 0
    highest = min(_highest("uid_map"), _highest("gid_map"))
    if highest >= FIRST + COUNT:
        return FIRST + secrets.randbelow(COUNT)
    if highest < _LEAST_MAPPED:
        return 0
    # A container with few ids: its upper half, far from those its image names.
    return highest // 2 + secrets.randbelow(highest // 2 - 1)


def _highest(table: str) -> int:
    """Give the highest id that the first range of `table` maps, counted from this namespace's 0."""
    inside, _, count = Path(f"/proc/self/{table}").read_text("ascii").split()[:3]
    return int(inside) + int(count) - 1
