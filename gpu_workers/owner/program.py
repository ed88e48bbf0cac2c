"""The `atoms-gpu` command: reads the command line, talks to the folder and the market, prints. Data on stdout, the rest on stderr."""

import argparse
import contextlib
import datetime
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from agents_sdk import _calls, _core, _version, errors, leases
from gpu_workers.owner import doctor, errands, history, limits, machine, money, printing, sensors, shell, starting
from gpu_workers.owner import folder as folders
from gpu_workers.runner import hardware

OK, NEGATIVE, BAD_INPUT, API_ERROR, INTERRUPTED = 0, 1, 2, 3, 130
# A running program has stopped its training by then: two seconds, and what a busy machine takes to write it down.
ACKNOWLEDGED_WITHIN_S = 10.0
_LOOK_S = 0.05
_WATCH_S = 1.0
_WEEK_S = 7 * 86_400.0

_EPILOG = """\
environment: ATOMS_API_KEY (a key of scope lease:replay), ATOMS_URL (default http://127.0.0.1:8000),
             ATOMS_GPU_HOME (default ~/.local/state/atoms-gpu: all that this program ever writes)
exit codes:  0 done   1 negative: a check failed, nothing to show   2 bad input   3 the market refused or could not be reached
"""


@dataclass(frozen=True)
class Context:
    """What every command has: its arguments, the folder, and where the market is."""

    arguments: argparse.Namespace
    folder: folders.Folder

    @property
    def is_json(self) -> bool:
        """Whether JSON is wanted."""
        return bool(self.arguments.json)

    def client(self) -> leases.LeaseClient:
        """Return a client that tries again by itself."""
        return leases.LeaseClient(self.arguments.url)

    def limits(self) -> limits.Limits:
        """Return the owner's limits."""
        return starting.read_limits(self.folder, self.arguments.limits)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    context = Context(arguments, folders.Folder(folders.home()))
    try:
        return _COMMANDS[arguments.command](context)
    except (errors.ConfigurationError, errors.BadRequest) as error:
        _note_error(error)
        return BAD_INPUT
    except (limits.MalformedLimits, folders.AlreadyRunning, folders.BrokenFolder, starting.NoSandbox, hardware.NoSuchDevice) as error:
        _note(f"atoms-gpu: {error}")
        return BAD_INPUT
    except errors.AtomsError as error:
        _note_error(error)
        return API_ERROR
    except KeyboardInterrupt:
        _note("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (atoms-gpu earnings | head): nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="atoms-gpu",
        description="Replay training runs for pay, within your limits, in a sandbox.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"atoms-gpu {_version.__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON, one object a line")
    common.add_argument("--url", help="the market's address (else ATOMS_URL)")
    common.add_argument("--limits", type=Path, metavar="FILE", help="your limits (else limits.toml in the state folder)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    examine = commands.add_parser("doctor", parents=[common], help="check this machine, then earn with one calibration")
    examine.add_argument("--no-replay", action="store_true", help="check only")
    commands.add_parser("run", parents=[common], help="work until you stop it")
    status = commands.add_parser("status", parents=[common], help="show what it does now")
    status.add_argument("--watch", action="store_true", help="show it again every second")
    commands.add_parser("earnings", parents=[common], help="list every run with its pay, or why there is none")
    commands.add_parser("why-idle", parents=[common], help="say why nothing runs, and what would change it")
    pause = commands.add_parser("pause", parents=[common], help="stop working at once")
    pause.add_argument("time", nargs="?", help='for how long, for example "2h"; without it until atoms-gpu resume')
    commands.add_parser("resume", parents=[common], help="end a pause or a finish")
    commands.add_parser("finish", parents=[common], help="do what is in hand, take nothing new, then end")
    explain = commands.add_parser("explain", parents=[common], help="show exactly what a run runs, and under which limits")
    explain.add_argument("run", metavar="RUN")
    appeal = commands.add_parser("appeal", parents=[common], help="have a run that was judged invalid trained again by the market")
    appeal.add_argument("run", metavar="RUN")
    forget = commands.add_parser("forget", parents=[common], help="remove everything this program keeps")
    forget.add_argument("--anyway", action="store_true", help="even if finished work is not handed in: it is lost then")
    return parser


def _doctor(context: Context) -> int:
    options = _core.options_from(api_key=None, base_url=context.arguments.url, environment=os.environ, timeout_s=30, max_retries=2)
    with context.client() as client:
        return _examine(context, doctor.Visit(context.folder, context.limits(), client, options.base_url))


def _examine(context: Context, visit: doctor.Visit) -> int:
    is_fit = True
    for line in doctor.lines(visit):
        is_fit = is_fit and line.is_ok
        found: JsonValue = {"name": line.name, "is_ok": line.is_ok, "text": line.text, "fix": line.fix}
        text = [f"{'ok ' if line.is_ok else 'FIX'}  {line.name:12} {line.text}", *([f"     {'':12} -> {line.fix}"] if line.fix else [])]
        _print(context, found, text)
    if visit.host is not None:
        expected = money.estimate(visit.demand, history.experiences(context.folder))
        _print(context, _estimate_json(expected), printing.estimate(expected, visit.limits, visit.limits.assumed_watts))
    if not is_fit or context.arguments.no_replay or visit.host is None:
        return OK if is_fit else NEGATIVE
    _note("All is well. Now one paid calibration, leased like any other run.")
    before = len(history.ended(context.folder))
    _work(context, visit.limits, visit.host, runs=1)
    return OK if len(history.ended(context.folder)) > before else NEGATIVE


def _run(context: Context) -> int:
    owner = context.limits()
    this = starting.this_machine(owner)
    with context.client() as client:
        try:
            host, _ = starting.register(client, context.folder, this)
            demand = client.demand(host.class_key)
        except errors.APIConnectionError:
            known = starting.known_host(context.folder, this)
            if known is None:
                raise
            host, demand = known, None
            _note("The market can't be reached now; it is tried again all the time.")
    expected = money.estimate(demand, history.experiences(context.folder))
    for line in printing.estimate(expected, owner, owner.assumed_watts):
        _note(line)
    # Whoever starts it wants work; a pause, which has an end of its own, stays.
    history.keep_wishes(context.folder, machine.Wishes(history.wishes(context.folder).paused_until))
    _work(context, owner, host, runs=None)
    waiting = len(context.folder.run_ids())
    if waiting:
        _note(
            f"{waiting} runs are in hand and kept. They go on with the next atoms-gpu run; finished ones are to be handed in within a day."
        )
    return OK


def _work(context: Context, owner: limits.Limits, host: errands.Host, *, runs: int | None) -> None:
    """Run the program on the folder until it leaves."""
    eyes = sensors.MachineSensors(context.folder.path, wants_programs=bool(owner.pause_when))
    with context.folder.locked(), leases.LeaseClient(context.arguments.url, max_retries=0) as client:
        program = shell.Program(
            shell.Setup(folder=context.folder, client=client, host=host, limits=owner, sensors=eyes, runs=runs, note=_note)
        )
        with shell.leaving_on_signals(program):
            program.work()


def _status(context: Context) -> int:
    while True:
        found = _running_status(context.folder)
        wishes, in_hand = history.wishes(context.folder), len(context.folder.run_ids())
        if context.arguments.watch and not context.is_json and sys.stdout.isatty():
            # Clear the screen: our own sequence, not one that came with a text.
            sys.stdout.write("\x1b[2J\x1b[H")
        _print(
            context,
            {**(found or {}), "is_running": found is not None, "in_hand": in_hand},
            printing.status(found, wishes=wishes, in_hand=in_hand),
        )
        if not context.arguments.watch:
            return OK if found is not None else NEGATIVE
        time.sleep(_WATCH_S)


def _running_status(folder: folders.Folder) -> folders.JsonObject | None:
    return folders.read(folder.path / "status.json") if folder.is_running else None


def _earnings(context: Context) -> int:
    with context.client() as client:
        pages = list(client.replays())
    runs = [run for page in pages for run in page.data]
    sums = money.sums(runs)
    windows = money.windows(runs, now=datetime.datetime.now(datetime.UTC))
    own = history.experiences(context.folder)
    off = money.error_of_estimates(own, since=time.time() - _WEEK_S)
    if context.is_json:
        for run in runs:
            _print(context, run.model_dump(mode="json"), [])
        total: dict[str, JsonValue] = {each: {"paid": str(sum_.paid), "pending": str(sum_.pending)} for each, sum_ in sums.items()}
        days: list[JsonValue] = [
            {"days": each.days, "currency": each.currency, "earned": str(each.earned), "pending": str(each.pending), "lost": str(each.lost)}
            for each in windows
        ]
        _print(context, {"sums": total, "windows": days, "estimate_error": str(off[0]) if off else None, "n": off[1] if off else 0}, [])
    else:
        _print(context, None, [*printing.earnings(runs, sums), *printing.windows(windows), *printing.error_of_estimates(off)])
    wrong = _differing(pages, sums)
    for line in wrong:
        _note(line)
    return NEGATIVE if wrong else OK


def _appeal(context: Context) -> int:
    run_id = _calls.path_id(context.arguments.run)
    with context.client() as client:
        # The same key for the same run: asked twice, it is one appeal, whose state the second answer is read for.
        client.appeal(run_id, idempotency_key=f"appeal-{run_id}")
        run = client.replay(run_id)
    _print(context, run.model_dump(mode="json"), printing.appealed(run))
    return NEGATIVE if run.appeal is not None and run.appeal.status == "STANDS" else OK


def _differing(pages: Sequence[leases.ReplayPage], sums: dict[str, money.Sums]) -> list[str]:
    """Return where the market's own sums are not those of the runs it listed."""
    theirs = {each.paid.currency: money.Sums(each.paid.value, each.pending.value) for each in (pages[-1].totals if pages else ())}
    return [
        f"atoms-gpu: the market's sums in {currency} are paid {theirs[currency].paid}, pending {theirs[currency].pending}:"
        " they differ from the runs it lists. Report it."
        for currency in sorted(theirs)
        if theirs[currency] != sums.get(currency, money.Sums())
    ]


def _why_idle(context: Context) -> int:
    found = _running_status(context.folder)
    idle: JsonValue = found.get("idle") if found is not None else {"code": "not_running"}
    _print(context, {"idle": idle}, printing.why_idle(found))
    return OK


def _pause(context: Context) -> int:
    until = time.time() + _calls.seconds(context.arguments.time) if context.arguments.time else machine.FOREVER
    _wish(context, machine.Wishes(until, history.wishes(context.folder).is_finishing))
    when = "until atoms-gpu resume" if until == machine.FOREVER else f"until {printing.local_time(until)}; it goes on by itself"
    return _acknowledged(context, f"Paused {when}.", lambda status: not status.get("is_child_alive"))


def _resume(context: Context) -> int:
    _wish(context, machine.Wishes())
    return _acknowledged(context, "Resumed.", lambda _: True)


def _finish(context: Context) -> int:
    _wish(context, machine.Wishes(0.0, is_finishing=True))
    return _acknowledged(context, "Finishing: what is in hand is done and handed in, nothing new is taken.", lambda _: True)


def _wish(context: Context, wishes: machine.Wishes) -> None:
    history.keep_wishes(context.folder, wishes)


def _acknowledged(context: Context, text: str, is_so: Callable[[folders.JsonObject], bool]) -> int:
    """Wait until the running program has heard the wish and done as it says."""
    began, wishes = time.monotonic(), history.wishes_json(history.wishes(context.folder))
    while (status := _running_status(context.folder)) is not None:
        if status.get("wishes") == wishes and is_so(status):
            break
        if time.monotonic() - began > ACKNOWLEDGED_WITHIN_S:
            _note("The running program does not answer. Stop it: its work is kept.")
            return NEGATIVE
        time.sleep(_LOOK_S)
    took_s = time.monotonic() - began
    tail = "" if status is not None else " No program runs; it counts from the next start."
    _print(context, {**wishes, "is_running": status is not None, "seconds": round(took_s, 3)}, [text + tail])
    return OK


def _explain(context: Context) -> int:
    run_id = _calls.path_id(context.arguments.run)
    record = history.of_run(context.folder, run_id)
    if record is None:
        _note(f"atoms-gpu: this machine had no run {run_id}. `atoms-gpu earnings` lists all of yours.")
        return NEGATIVE
    host = folders.read(context.folder.path / "host.json") or {}
    state: JsonValue = record.get("outcome") or record.get("stage")
    lines = printing.explained(record, level=str(host.get("sandbox_level")), owner=context.limits(), local={"state": state})
    _print(context, {name: value for name, value in record.items() if name != "salt"}, lines)
    return OK


def _forget(context: Context) -> int:
    folder = context.folder
    if not folder.path.exists():
        _print(context, {"is_removed": False}, ["There is nothing to remove."])
        return OK
    with folder.locked():
        runs = [folders.read(folder.run_folder(run_id) / "run.json") or {} for run_id in folder.run_ids()]
        unsent = [run for run in runs if str(run.get("stage")) in machine.FINISHED_STAGES]
        if unsent and not context.arguments.anyway:
            _note(f"atoms-gpu: {len(unsent)} finished runs are not handed in yet, and not paid. Let `atoms-gpu run` hand them in first,")
            _note("  then `atoms-gpu finish`; or lose them with `atoms-gpu forget --anyway`.")
            return NEGATIVE
        folder.remove()
    _print(context, {"is_removed": True}, [f"Removed {folder.path}. Next: pip uninstall atoms-market"])
    return OK


_COMMANDS: dict[str, Callable[[Context], int]] = {
    "doctor": _doctor,
    "run": _run,
    "status": _status,
    "earnings": _earnings,
    "why-idle": _why_idle,
    "pause": _pause,
    "resume": _resume,
    "finish": _finish,
    "explain": _explain,
    "appeal": _appeal,
    "forget": _forget,
}


def _estimate_json(expected: money.Estimate | None) -> JsonValue:
    if expected is None:
        return {"estimate": None}
    amounts: dict[str, JsonValue] = {name: money.shown(getattr(expected, name)) for name in ("low", "p50", "high")}
    return {"estimate": {**amounts, "currency": expected.currency, "n": expected.n, "whose": expected.whose}}


def _print(context: Context, value: JsonValue, lines: list[str]) -> None:
    for line in [printing.as_json(value)] if context.is_json else [printing.safe(line) for line in lines]:
        print(line, flush=True)


def _note(text: str) -> None:
    # The terminal that it ran in may have gone; the work goes on.
    with contextlib.suppress(OSError):
        print(printing.safe(text), file=sys.stderr, flush=True)


def _note_error(error: errors.AtomsError) -> None:
    """Say what went wrong, what to do, and what to name when asking for help."""
    _note(f"atoms-gpu: {error.message}")
    if isinstance(error, errors.APIStatusError):
        about = [f"code {error.code}" if error.code else f"status {error.status_code}"]
        about += [f"request {error.request_id}"] if error.request_id else []
        _note(f"  {'; '.join(about)}")
    if error.next_step:
        _note(f"  Next: {error.next_step}")


if __name__ == "__main__":
    sys.exit(main())
