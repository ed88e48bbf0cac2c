"""The `atoms research` commands: post, submit, wait, leaderboard, tip."""

import argparse
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents_sdk import _core, _research_calls, errors, market, research_models, working_folder
from agents_sdk.cli import printing

# What a program exits with where nothing was accepted.
NEGATIVE = 1
_NEEDED = {"title", "tree", "editable", "data", "budget", "reward_per_effect", "cap", "run_fee", "by"}


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    """Describe the commands."""
    group = commands.add_parser("research", help="budgets for verified gains on training repositories")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")

    post = actions.add_parser("post", parents=[common], help="post what a file describes")
    post.add_argument("file", type=Path, help="TOML with the arguments of market.research.post; paths in it are relative to it")
    post.add_argument("--idempotency-key", metavar="KEY", help="your name for it: the same command with the same key is the same bounty")
    post.add_argument("--dry-run", action="store_true", help="only say what it would cost and whether it would be published")

    tip = actions.add_parser("tip", parents=[common], help="write the tip's files into a folder, and the public data beside them")
    tip.add_argument("bounty")
    tip.add_argument("folder", type=Path)
    tip.add_argument("--data", type=Path, metavar="FOLDER", help="write the public data files there")

    submit = actions.add_parser("submit", parents=[common], help="hand in the allow-listed files of a folder that tip wrote")
    submit.add_argument("folder", type=Path)
    submit.add_argument("--note", default="", help="a word for those who read what was tried")
    submit.add_argument("--reported-gain", type=float, metavar="GAIN", help="what you measured; shown, never judged by")
    submit.add_argument("--wait", action="store_true", help="wait for the verdict, as atoms research wait does")
    submit.add_argument("--timeout", metavar="TIME", help="how long to wait")

    wait = actions.add_parser("wait", parents=[common], help="wait for a candidate's verdict")
    wait.add_argument("candidate")
    wait.add_argument("--timeout", metavar="TIME", help='for example "10m"; without it as long as it takes')
    wait.add_argument("--until", choices=["decided", "final"], default="decided")

    leaderboard = actions.add_parser("leaderboard", parents=[common], help="show the accepted candidates")
    leaderboard.add_argument("bounty")


def run(arguments: argparse.Namespace, client: market.Market, show: Callable[[list[str]], None], note: Callable[[str], None]) -> int:
    """Run one command and return its exit code."""
    match arguments.action:
        case "post":
            return _post(arguments, client, show)
        case "tip":
            return _tip(arguments, client, note)
        case "submit":
            return _submit(arguments, client, show, note)
        case "wait":
            return _wait(arguments, client, arguments.candidate, show)
        case _:
            for leader in client.research.leaderboard(arguments.bounty):
                show(printing.leader(leader, as_json=arguments.json))
            return 0


def curl(arguments: argparse.Namespace, options: _core.Options) -> str:
    """Write the command line that sends the same request."""
    match arguments.action:
        case "post":
            body = _research_calls.prepare(**_arguments_of(arguments.file)).body
            if arguments.dry_run:
                return _core.as_curl(_research_calls.quote(body), options)
            return _core.as_curl(_research_calls.post(body, idempotency_key=arguments.idempotency_key), options)
        case "tip":
            return _core.as_curl(_research_calls.tip(arguments.bounty), options)
        case "submit":
            candidate, bounty = _candidate_of(arguments), working_folder.bounty_of(arguments.folder)
            call = _research_calls.submit(bounty, candidate, announced="", salt="", idempotency_key=candidate.name)
            return _core.as_curl(call, options)
        case "wait":
            return _core.as_curl(_research_calls.candidate(arguments.candidate), options)
        case _:
            return _core.as_curl(_research_calls.leaderboard(arguments.bounty, cursor=""), options)


def _post(arguments: argparse.Namespace, client: market.Market, show: Callable[[list[str]], None]) -> int:
    given = _arguments_of(arguments.file)
    if arguments.dry_run:
        quote = client.research.quote(**given)
        show(printing.research_quote(quote, as_json=arguments.json))
        return 0 if quote.policy.is_allowed is not False else NEGATIVE
    show(printing.research_bounty(client.research.post(**given, idempotency_key=arguments.idempotency_key), as_json=arguments.json))
    return 0


def _tip(arguments: argparse.Namespace, client: market.Market, note: Callable[[str], None]) -> int:
    found = client.research.tip(arguments.bounty, into=arguments.folder)
    note(f"Tip {found.number} is in {arguments.folder}. You may change {', '.join(found.editable)}.")
    if arguments.data is not None:
        names = client.research.data(arguments.bounty, into=arguments.data)
        note(f"{arguments.data} has {', '.join(names)}.")
    return 0


def _submit(arguments: argparse.Namespace, client: market.Market, show: Callable[[list[str]], None], note: Callable[[str], None]) -> int:
    candidate = _candidate_of(arguments)
    submitted = client.research.submit(working_folder.bounty_of(arguments.folder), candidate, idempotency_key=candidate.name)
    if arguments.wait:
        note(f"Handed in {submitted.id}. If this stops: atoms research wait {submitted.id}")
        arguments.until = "decided"
        return _wait(arguments, client, submitted.id, show)
    show(printing.candidate(submitted.submitted or submitted.show(), as_json=arguments.json))
    note(f"Next: atoms research wait {submitted.id}")
    return 0


def _wait(arguments: argparse.Namespace, client: market.Market, candidate_id: str, show: Callable[[list[str]], None]) -> int:
    case: research_models.ResearchCase = client.research.candidate(candidate_id).wait(timeout=arguments.timeout, until=arguments.until)
    show(printing.candidate(case, as_json=arguments.json))
    return 0 if case.is_accepted else NEGATIVE


def _candidate_of(arguments: argparse.Namespace) -> working_folder.Candidate:
    return working_folder.Candidate.from_folder(arguments.folder, reported_gain=arguments.reported_gain, note=arguments.note)


def _arguments_of(file: Path) -> dict[str, Any]:
    """Read the arguments of `market.research.post`; tree and data are paths beside the file.

    Raises:
        ConfigurationError: it can't be read, or lacks something.
    """
    try:
        given: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise errors.ConfigurationError(f"{str(file)!r} can't be read as TOML.", next_step="See docs/api/research.md.") from error
    missing = sorted(_NEEDED - given.keys())
    if missing:
        raise errors.ConfigurationError(f"{str(file)!r} does not say {', '.join(missing)}.", next_step="See docs/api/research.md.")
    beside = file.parent
    data = given["data"] if isinstance(given["data"], dict) else {}
    return {**given, "tree": beside / str(given["tree"]), "data": {role: _beside(beside, each) for role, each in data.items()}}


def _beside(folder: Path, given: object) -> Path | dict[str, Path]:
    return {name: folder / str(path) for name, path in given.items()} if isinstance(given, dict) else folder / str(given)
