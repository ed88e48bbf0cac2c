"""Loses PostgreSQL's whole folder under load and has it again, from a base backup and the log that was archived meanwhile.

``python -m tests.faults.restore --rounds 5`` runs the commands of docs/operating.md, "Backups", word for word. After each loss every
write that was acknowledged is there, once; the books add up; what was begun is done; and in a second place the market comes back
to a moment, named or timed, with what was acknowledged before it and nothing that was asked for after it.
"""

import argparse
import contextlib
import dataclasses
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import LiteralString

import psycopg

from market.config.supervisor import children, credentials, folders, postgres
from tests.faults import acknowledged, campaign, customers, servers

# The market's own: `verification.pipeline`, `market.payments.payouts`, `gpu_workers.leasing`.
LEASE_S = 60
CLIENTS = 4
MOST_WRITES = 40
_PAGE = campaign.ROOT / "docs" / "operating.md"
_FOLLOWS = "SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = 'pg_receivewal' AND state = 'streaming'"
_FOLLOWS_AT_ONCE = f"{_FOLLOWS} AND sync_state = 'sync'"
_BYTES_IN_A_MEGABYTE = 1_000_000


class Spoiled(Exception):
    """A command of the page failed, such as the check of a backup; the message is what it said."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A data folder and the market in it."""

    folder: folders.DataFolder
    market: servers.Market

    @property
    def program(self) -> children.Program:
        """PostgreSQL's program of this folder, whose ``folder`` is the cluster's."""
        secrets = credentials.load_or_make(self.folder.secrets_file)
        cluster = postgres.Cluster(folder=self.folder, run_folder=self.folder.run_folder(), secrets=secrets, is_durable=True)
        return cluster.program()


class Archive:
    """A write-ahead log as it is kept from now on, and the base backup that it goes on from."""

    def __init__(self, place: Place, number: int) -> None:
        program = place.program
        self._place = place
        self.data = program.folder
        self.log = place.folder.for_service(f"archive-{number}")
        self.backup = place.folder.for_service(f"backup-{number}")
        self._environment = {
            **program.environment,
            "BIN": str(Path(program.arguments[0]).parent),
            "ARCHIVE": str(self.log),
            "BACKUP": str(self.backup),
            "PGHOST": str(place.folder.run_folder()),
            "PGUSER": postgres.SUPERUSER,
            "PGPASSWORD": credentials.read_strings(place.folder.secrets_file)["postgres_superuser_password"],
        }
        arguments = ("bash", "-euc", commands("Keep the log"))
        self._program = dataclasses.replace(
            program,
            name=f"archive-{number}",
            arguments=arguments,
            environment=self._environment,
            log=place.folder.logs / f"archive-{number}.log",
            folder=self.log,
        )
        self._receiver: children.Child | None = None

    def open(self) -> None:
        """Keep the log from now on, before any answer."""
        self.follow()
        self.run(commands("Answer only what is archived"))
        self._wait_for(_FOLLOWS_AT_ONCE)

    def follow(self) -> None:
        """Keep the log from now on, some time after the answers."""
        self._receiver = children.Child(self._program)
        self._wait_for(_FOLLOWS)

    def freeze(self) -> None:
        """Have the receiver take nothing more."""
        assert self._receiver is not None
        self._receiver.process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """End the receiver, whether its server lives or not."""
        if self._receiver is not None:
            # It may be frozen.
            self._receiver.process.kill()
            self._receiver.wait_until_stopped()
            self._receiver = None

    def end(self) -> None:
        """Let answers go out unarchived again, and end the receiver."""
        self._tell("ALTER SYSTEM RESET synchronous_standby_names")
        self._tell("SELECT pg_reload_conf()")
        self.close()

    def back_up(self) -> None:
        """Take the base backup and verify it.

        Raises:
            Spoiled: it is not what the server has.
        """
        self.run(commands("Take a base backup"))

    def restore(self, *, into: Path, target: str = "") -> None:
        """Fill an empty folder, so that a PostgreSQL that starts there reads the log to its end, or to the target.

        Raises:
            Spoiled: the backup is not as it was taken.
        """
        self.run(commands("Restore"), {"DATA": str(into), "TARGET": target})

    def name_moment(self, name: str) -> None:
        """Put a named moment into the log."""
        self._tell("SELECT pg_create_restore_point(%s)", name)

    def end_segment(self) -> None:
        """Have PostgreSQL begin a new file of the log."""
        self._tell("SELECT pg_switch_wal()")

    def run(self, script: str, more: Mapping[str, str] | None = None) -> None:
        """Run commands as the account that PostgreSQL runs as.

        Raises:
            Spoiled: one of them failed.
        """
        account = self._place.folder.service_identity
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", script],
            env={**self._environment, **(more or {})},
            cwd=self.log,
            capture_output=True,
            text=True,
            check=False,
            timeout=servers.PATIENCE_S,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077,
        )
        if done.returncode != 0:
            raise Spoiled(f"{done.stdout[-300:]}{done.stderr[-700:]}")

    def _tell(self, statement: LiteralString, *values: str) -> object:
        """Run a statement as PostgreSQL's superuser; return its first value, if it has one."""
        told = self._environment
        with psycopg.connect(
            host=told["PGHOST"], user=told["PGUSER"], password=told["PGPASSWORD"], dbname="postgres", autocommit=True, connect_timeout=10
        ) as connection:
            cursor = connection.execute(statement, values)
            row = cursor.fetchone() if cursor.description else None
        return row and row[0]

    def _wait_for(self, is_so: LiteralString) -> None:
        assert self._receiver is not None
        end_s = time.monotonic() + servers.PATIENCE_S
        while not self._tell(is_so):
            assert self._receiver.exit_code is None, self._receiver.last_words()
            assert time.monotonic() < end_s, f"The archive does not follow: {self._receiver.last_words()}"
            time.sleep(children.POLL_S)


def commands(heading: str) -> str:
    """Return the commands that docs/operating.md gives under a heading."""
    part = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##)", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert part, f"docs/operating.md has no heading {heading!r}."
    block = re.search(r"^```bash\n(.*?)^```$", part[1], re.MULTILINE | re.DOTALL)
    assert block, f"docs/operating.md gives no commands under {heading!r}."
    return block[1]


@contextlib.contextmanager
def open_place(options: servers.Options) -> Iterator[tuple[Place, list[servers.ClientKeys]]]:
    """Open a whole market in a folder of its own, and end it with all that it left."""
    with servers.throwaway_folder() as folder, servers.market_in(folder, options) as market:
        yield Place(folder, market), market.open()


@contextlib.contextmanager
def second_place(like: Place) -> Iterator[Place]:
    """Give an empty folder beside, with the same secrets, and no process yet."""
    with servers.throwaway_folder() as folder:
        shutil.copy2(like.folder.secrets_file, folder.secrets_file)
        with servers.market_in(folder, servers.Options(clients=0)) as market:
            yield Place(folder, market)


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a loss is played with."""

    place: Place
    load: customers.Load
    clients: int
    before: acknowledged.Written
    chance: random.Random
    report: campaign.Report
    # As many writes, at most, are acknowledged between two things that happen.
    most_writes: int

    def go_on(self) -> None:
        """Let the clients work until a random moment, and at least until each has been answered once more."""
        self.load.wait_for_more(self.clients + self.chance.randint(1, self.most_writes))


@dataclasses.dataclass(frozen=True)
class Moment:
    """A moment that one can return to, and what had been acknowledged just before it and just after it."""

    target: str
    told_before: Mapping[str, frozenset[str]]
    told_after: Mapping[str, frozenset[str]]


def play(
    *, place: Place, keys: list[servers.ClientKeys], rounds: int, seed: int, done_within_s: float, most_writes: int, report: campaign.Report
) -> None:
    """Lose the database ``rounds`` times under load, and note every promise that was broken."""
    chance = random.Random(f"{seed} restore")
    before, load = acknowledged.written(place.market), customers.Load(place.market.url, keys, chance=chance)
    scene = Scene(place, load, len(keys), before, chance, report, most_writes)
    broken: list[str] = []
    report.figures["losses"] = rounds
    archive = Archive(place, 0)
    archive.open()
    load.start()
    try:
        for number in range(rounds):
            archive = lose(scene, archive, number=number, broken=broken)
    finally:
        memory = load.finish()
    archive.end()
    took_s, left = acknowledged.wait_until_done(place.market, within_s=done_within_s)
    if left:
        broken.append(f"not done {done_within_s:.0f} s after the restore: {left}")
    found = acknowledged.differences(place.market, memory, before=before)
    report.violations += [f"seed {seed}, {rounds} losses: {line}" for line in broken + found]
    report.figures |= {f"{kind} acknowledged": len(ids) for kind, ids in sorted(memory.acknowledged.items())}
    report.figures |= {
        "acknowledged writes": memory.count,
        "lost writes": sum(line.startswith("acknowledged and lost") for line in found),
        "requests without an answer, repeated": len(memory.troubles),
        "all done after, s": round(took_s, 1),
    }


def lose(scene: Scene, archive: Archive, *, number: int, broken: list[str]) -> Archive:
    """Lose the cluster once, restore it, look at it and at one moment of its past; return the archive that goes on from there."""
    scene.go_on()
    began_s = time.monotonic()
    archive.back_up()
    _note_most(scene.report, "most seconds to take and verify a backup", time.monotonic() - began_s)
    scene.go_on()
    if scene.chance.random() < 0.5:
        archive.end_segment()
    moment = note_moment(scene, archive, name=f"moment-{number}")
    scene.go_on()
    scene.place.market.kill("postgres")
    archive.close()
    restore_all(scene.place, archive, scene.report)
    began_s = time.monotonic()
    broken += [f"loss {number}: the books: {line}" for line in scene.place.market.audit()]
    _note_most(scene.report, "most seconds to audit", time.monotonic() - began_s)
    following = Archive(scene.place, number + 1)
    following.open()
    broken += [f"loss {number}, {moment.target}: {line}" for line in differences_at(scene, archive, moment)]
    return following


def restore_all(place: Place, archive: Archive, report: campaign.Report) -> None:
    """Lose the cluster's folder, have it again from the archive, and start PostgreSQL there."""
    shutil.rmtree(archive.data)
    began_s = time.monotonic()
    archive.restore(into=place.folder.for_service(archive.data.name))
    place.market.start("postgres")
    _note_most(report, "most seconds to restore", time.monotonic() - began_s)
    _note_most(report, "most MB of a backup", _megabytes(archive.backup))
    _note_most(report, "most MB of an archive", _megabytes(archive.log))


def note_moment(scene: Scene, archive: Archive, *, name: str) -> Moment:
    """Choose a moment, by a name or by its time, that lies between two others."""
    told_before = _told(scene.load.memory)
    if scene.chance.random() < 0.5:
        archive.name_moment(name)
        target = f"recovery_target_name = '{name}'"
    else:
        [(now,)] = scene.place.market.query("SELECT clock_timestamp()::text")
        target = f"recovery_target_time = '{now}'"
    return Moment(target, told_before, _told(scene.load.memory))


def differences_at(scene: Scene, archive: Archive, moment: Moment) -> list[str]:
    """Return to a moment in a second place, and compare what is there with what clients were told then."""
    with second_place(scene.place) as place:
        archive.restore(into=place.program.folder, target=moment.target)
        place.market.start("postgres")
        there = acknowledged.written(place.market)
        found = [f"the books: {line}" for line in place.market.audit()]
        place.market.stop("postgres")
    scene.report.count("moments returned to")
    new = {kind: ids - scene.before[kind] for kind, ids in there.items()}
    lost = {f"{kind} {each}" for kind, ids in moment.told_before.items() for each in ids - new[kind]}
    early = {f"{kind} {each}" for kind, ids in new.items() for each in ids - moment.told_after.get(kind, frozenset())}
    scene.report.count("writes under way at a moment", len(early))
    found += [f"acknowledged before the moment and not there: {each}" for each in sorted(lost)]
    # A client has one request under way at a time.
    return found + ([f"asked for after the moment and there: some of {sorted(early)}"] if len(early) > scene.clients else [])


def _told(memory: customers.Memory) -> dict[str, frozenset[str]]:
    with memory.changed:
        # An id is answered as a kind of three letters, and its digits.
        return {kind: frozenset(each.partition("_")[2] for each in ids) for kind, ids in memory.acknowledged.items()}


def _note_most(report: campaign.Report, name: str, figure: float) -> None:
    before = report.figures.get(name, 0.0)
    assert isinstance(before, float), name
    report.figures[name] = max(before, round(figure, 1))


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / _BYTES_IN_A_MEGABYTE


def run(options: argparse.Namespace) -> campaign.Report:
    """Play so many losses on one market."""
    report = campaign.Report()
    # A worker holds five claims at most, and those stay open whose photograph a person must look at.
    wanted = servers.Options(clients=CLIENTS, workers_a_client=4 + 2 * options.rounds)
    with open_place(wanted) as (place, keys):
        play(
            place=place,
            keys=keys,
            rounds=options.rounds,
            seed=options.seed,
            done_within_s=2 * LEASE_S,
            most_writes=options.most_writes,
            report=report,
        )
    return report


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--most-writes", type=int, default=MOST_WRITES, help="as many between two things that happen (default %(default)s)")


if __name__ == "__main__":
    campaign.command(
        "tests.faults.restore",
        description="Lose PostgreSQL's folder under load and restore it from base backup and log: nothing acknowledged is lost.",
        rounds=5,
        run=run,
        add_arguments=_add_arguments,
        has_database=False,
    )
