"""Where a market keeps its data, who may look inside, and that only one process at a time uses it."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from market.config.supervisor import identity, refusal

# A UNIX socket's address holds 107 bytes; the longest name below the run folder is PostgreSQL's ".s.PGSQL.5432.lock".
LONGEST_RUN_FOLDER_BYTES = 107 - len("/.s.PGSQL.5432.lock") - 1
# PostgreSQL's cluster takes 60 MB, its write-ahead log up to 1 GB under load.
NEEDED_BYTES = 512 * 1024**2


class DataFolder:
    """One market's folder. `open` makes it and takes its lock, which ends with this process however that ends."""

    def __init__(self, *, root: Path, service_identity: identity.Identity | None) -> None:
        self.root = root
        self.service_identity = service_identity
        self._lock: int | None = None
        self._digest = hashlib.sha256(str(root).encode()).hexdigest()[:12]

    @property
    def _elsewhere(self) -> Path:
        return Path("/var/lib") / f"atoms-{self._digest}"

    @property
    def _short_run_folder(self) -> Path:
        # In the system's own folder for such things; a stranger who made it first is found out by its owner.
        return Path("/tmp") / f"atoms-{os.geteuid()}-{self._digest}"  # noqa: S108

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def secrets_file(self) -> Path:
        return self.root / "secrets.json"

    @property
    def environment_file(self) -> Path:
        return self.root / "environment"

    @property
    def keys_file(self) -> Path:
        return self.root / "keys.json"

    def open(self) -> None:
        """Make the folder and take its lock.

        Raises:
            Refused: it cannot be written, there is no room, or another process has it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # PostgreSQL's account must pass through, but needs to read nothing here.
            self.root.chmod(0o711 if self.service_identity else 0o700)
            self.logs.mkdir(exist_ok=True)
            self.logs.chmod(0o700)
            self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise refusal.Refused(
                f"The data folder {self.root} cannot be used: {error.strerror}. Make it writable, or name another in ATOMS_DATA_DIR."
            ) from error
        self._take_lock()
        free_bytes = shutil.disk_usage(self.root).free
        if free_bytes < NEEDED_BYTES:
            raise refusal.Refused(
                f"The disk of {self.root} has {free_bytes / 1e6:.0f} MB free; the market needs {NEEDED_BYTES / 1e6:.0f} MB. "
                "Free some, or name a folder on another disk in ATOMS_DATA_DIR."
            )

    def _take_lock(self) -> None:
        assert self._lock is not None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode() or "?"
            raise refusal.Refused(
                f"A market is running from {self.root} already (process {holder}). Stop that one, or name another folder in ATOMS_DATA_DIR."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Let the next process have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def for_service(self, name: str) -> Path:
        """Return a folder of mode 700 that the service's account owns and can reach.

        It is below this folder where that account can pass through all of its parents. Below a home of mode 700 it cannot:
        then the folder is below /var/lib, named by a digest of this one's path.

        Raises:
            Refused: neither place will do.
        """
        account = self.service_identity
        if account is None or account.can(lambda: os.access(self.root, os.X_OK)):
            return self._make(self.root / name, mode=0o700)
        elsewhere = self._elsewhere
        try:
            self._make(elsewhere, mode=0o711, owned_by_account=False)
            if account.can(lambda: os.access(elsewhere, os.X_OK)):
                return self._make(elsewhere / name, mode=0o700)
        except OSError:
            pass
        raise refusal.Refused(
            f"PostgreSQL runs as {account.name} here, which can reach neither {self.root} nor /var/lib. Name a folder in ATOMS_DATA_DIR "
            f"whose parents {account.name} may pass through (mode 711 or 755)."
        )

    def run_folder(self) -> Path:
        """Return the folder of the sockets: reachable by the services' account and short enough for a socket's address."""
        account = self.service_identity
        near = self.root / "run"
        is_reachable = account is None or account.can(lambda: os.access(self.root, os.X_OK))
        is_plain = len(os.fsencode(near)) <= LONGEST_RUN_FOLDER_BYTES and not set(str(near)) & set(',"')
        if is_reachable and is_plain:
            return self._make(near, mode=0o711)
        return self._make(self._short_run_folder, mode=0o711)

    def remove(self) -> None:
        """Delete everything, wherever it had to be put. For folders of `throwaway` only."""
        for path in (self.root, self._elsewhere, self._short_run_folder):
            shutil.rmtree(path, ignore_errors=True)

    def _make(self, path: Path, *, mode: int, owned_by_account: bool = True) -> Path:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        account = self.service_identity if owned_by_account else None
        owners = {os.geteuid(), account.uid} if account else {os.geteuid()}
        found = path.lstat()
        if path.is_symlink() or found.st_uid not in owners:
            raise refusal.Refused(f"{path} belongs to somebody else (uid {found.st_uid}); the market will not put its data there.")
        if account is not None:
            account.own(path)
        path.chmod(mode)
        return path


def throwaway(*, service_identity: identity.Identity | None) -> DataFolder:
    """Return a data folder in the system's temporary place; its user removes it."""
    return DataFolder(root=Path(tempfile.mkdtemp(prefix="atoms-")), service_identity=service_identity)
