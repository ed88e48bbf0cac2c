"""Who the services run as: PostgreSQL refuses to be root, so root lends it an account without rights."""

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from market.config.supervisor import refusal


@dataclass(frozen=True)
class Identity:
    """An account of this machine that the services' processes become."""

    name: str
    uid: int
    gid: int

    def can(self, question: Callable[[], bool]) -> bool:
        """Answer a yes/no question as this account would, in a child that has become it."""
        child = os.fork()
        if child == 0:
            answer = 1
            try:
                os.setgroups([])
                os.setresgid(self.gid, self.gid, self.gid)
                os.setresuid(self.uid, self.uid, self.uid)
                answer = 0 if question() else 1
            finally:
                os._exit(answer)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) == 0

    def own(self, path: Path) -> None:
        """Give `path` to this account."""
        os.chown(path, self.uid, self.gid)


def for_services() -> Identity | None:
    """Return the account that PostgreSQL and Valkey shall run as, or None to stay who we are.

    Raises:
        Refused: we are root and there is no account to lend.
    """
    if os.geteuid() != 0:
        return None
    name = os.environ.get("ATOMS_SERVICE_USER", "nobody")
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise refusal.Refused(
            f"PostgreSQL does not run as root, and this machine has no user {name!r} to run it as. "
            "Start the market as a plain user, or name an existing one in ATOMS_SERVICE_USER."
        ) from None
    if account.pw_uid == 0:
        raise refusal.Refused(f"ATOMS_SERVICE_USER={name} is root itself; PostgreSQL needs a plain user.")
    return Identity(name=name, uid=account.pw_uid, gid=account.pw_gid)
