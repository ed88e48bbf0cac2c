"""Reads the command line, calls the market, and turns what comes back into text and an exit code."""

import argparse
import os
import sys
from collections.abc import Sequence

import httpx

from agents_sdk import _calls, _core, _version, _waiting, errors, market
from agents_sdk.cli import printing, research

OK = 0
NEGATIVE = 1
BAD_INPUT = 2
API_ERROR = 3
INTERRUPTED = 130

_EPILOG = """\
environment: ATOMS_API_KEY (needed), ATOMS_URL (default http://127.0.0.1:8000)
exit codes:  0 done   1 negative: nothing was accepted   2 bad input   3 the market refused, failed or did not answer in time
"""


def main(argv: Sequence[str] | None = None, *, http_client: httpx.Client | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.curl:
            return _print_curl(arguments)
        with market.Market(base_url=arguments.url, http_client=http_client) as client:
            return _COMMANDS[arguments.command](arguments, client)
    except (errors.ConfigurationError, errors.BadRequest) as error:
        _note_error(error)
        return BAD_INPUT
    except errors.AtomsError as error:
        _note_error(error)
        return API_ERROR
    except KeyboardInterrupt:
        _note("Interrupted. A posted bounty goes on.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (atoms events | head): nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="atoms",
        description="Post bounties for the physical world and for research, and wait for their verdicts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"atoms {_version.__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON, one object a line")
    common.add_argument("--curl", action="store_true", help="print the request as a curl command instead of sending it")
    common.add_argument("--url", help="the market's address (else ATOMS_URL)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    post = commands.add_parser("post", parents=[common], help="ask for a photograph")
    post.add_argument("question", help='for example "Is the bakery open? Show the door sign."')
    post.add_argument("--at", required=True, type=_place, metavar="LAT,LON", help="where, in degrees")
    post.add_argument("--within", required=True, type=int, metavar="METRES", help="how far from there it may be taken")
    post.add_argument("--reward", required=True, metavar="AMOUNT", help='for each accepted photograph, for example "10.00"')
    post.add_argument("--by", required=True, metavar="TIME", help='until when, for example "2h" or "30m"')
    post.add_argument("--must-show", action="append", metavar="PHRASE", help="what must be seen; up to five times")
    post.add_argument("--currency", default="USD")
    post.add_argument("--slots", type=int, default=1, metavar="N", help="how many photographs")
    post.add_argument(
        "--simulate", choices=["late", "blurred", "wrong_place", "fraud", "no_taker"], help="test keys: what the simulated worker does"
    )
    post.add_argument("--idempotency-key", metavar="KEY", help="your name for it: the same command with the same key is the same bounty")
    post.add_argument("--dry-run", action="store_true", help="only say what it would cost and whether it would be published")
    post.add_argument("--wait", action="store_true", help="wait for the answer, as atoms wait does")
    post.add_argument("--timeout", metavar="TIME", help="how long to wait")

    wait = commands.add_parser("wait", parents=[common], help="wait for a bounty's answer")
    wait.add_argument("bounty")
    wait.add_argument("--timeout", metavar="TIME", help='for example "10m"; without it as long as the bounty lives')
    wait.add_argument("--until", choices=["judged", "answered", "settled"], default="answered")

    show = commands.add_parser("show", parents=[common], help="show a bounty")
    show.add_argument("bounty")
    cancel = commands.add_parser("cancel", parents=[common], help="cancel a bounty and get back what is not reserved")
    cancel.add_argument("bounty")
    commands.add_parser("balance", parents=[common], help="show what may be spent and what is held")
    events = commands.add_parser("events", parents=[common], help="print the events of your bounties")
    events.add_argument("--after", type=int, default=0, metavar="SEQ", help="the last event that you have")
    events.add_argument("--follow", action="store_true", help="wait for more")
    research.add_commands(commands, common)
    return parser


def _place(text: str) -> tuple[float, float]:
    latitude, _, longitude = text.partition(",")
    try:
        place = float(latitude), float(longitude)
    except ValueError:
        raise argparse.ArgumentTypeError('write it as latitude,longitude, for example "52.52,13.405"') from None
    if not (-90 <= place[0] <= 90 and -180 <= place[1] <= 180):
        raise argparse.ArgumentTypeError("there is no such place: the latitude comes first")
    return place


def _post(arguments: argparse.Namespace, client: market.Market) -> int:
    body = _body(arguments)
    if arguments.dry_run:
        quote = client.quote(body)
        _print(printing.quote(quote, as_json=arguments.json))
        return OK if quote.policy.is_allowed is not False else NEGATIVE
    posted = client.post(body, idempotency_key=arguments.idempotency_key)
    if arguments.wait:
        _note(f"Posted {posted.id}. If this stops: atoms wait {posted.id}")
        return _wait_for(posted, arguments, until="answered")
    _print(printing.bounty(posted.posted or posted.show(), as_json=arguments.json))
    _note(f"Next: atoms wait {posted.id}")
    return OK


def _wait(arguments: argparse.Namespace, client: market.Market) -> int:
    return _wait_for(client.bounty(arguments.bounty), arguments, until=arguments.until)


def _wait_for(posted: market.PostedBounty, arguments: argparse.Namespace, *, until: _waiting.Until) -> int:
    answer = posted.wait(timeout=arguments.timeout, until=until)
    _print(printing.answer(answer, as_json=arguments.json))
    return OK if answer.is_accepted else NEGATIVE


def _show(arguments: argparse.Namespace, client: market.Market) -> int:
    _print(printing.bounty(client.bounties.get(arguments.bounty), as_json=arguments.json))
    return OK


def _cancel(arguments: argparse.Namespace, client: market.Market) -> int:
    bounty = client.bounties.cancel(arguments.bounty)
    _print(printing.bounty(bounty, as_json=arguments.json))
    if not bounty.is_finished:
        _note("No new claims are taken. Live claims and received work still end; the rest of the money comes back then.")
    return OK


def _balance(arguments: argparse.Namespace, client: market.Market) -> int:
    _print(printing.balance(client.balance(), as_json=arguments.json))
    return OK


def _events(arguments: argparse.Namespace, client: market.Market) -> int:
    for event in client.events(after=arguments.after, follow=arguments.follow):
        _print(printing.event(event, as_json=arguments.json))
    return OK


def _research(arguments: argparse.Namespace, client: market.Market) -> int:
    return research.run(arguments, client, _print, _note)


_COMMANDS = {"research": _research, "post": _post, "wait": _wait, "show": _show, "cancel": _cancel, "balance": _balance, "events": _events}


def _body(arguments: argparse.Namespace) -> _core.JsonObject:
    return _calls.photo_body(
        arguments.question,
        at=arguments.at,
        within_m=arguments.within,
        reward=arguments.reward,
        by=arguments.by,
        must_show=arguments.must_show,
        currency=arguments.currency,
        slots=arguments.slots,
        simulate=arguments.simulate,
    )


def _print_curl(arguments: argparse.Namespace) -> int:
    # The key itself is never printed: the shell puts it in.
    options = _core.options_from(api_key="$ATOMS_API_KEY", base_url=arguments.url, environment=os.environ, timeout_s=30, max_retries=0)
    _print([_curl(arguments, options)])
    return OK


def _curl(arguments: argparse.Namespace, options: _core.Options) -> str:
    match arguments.command:
        case "research":
            return research.curl(arguments, options)
        case "post" if arguments.dry_run:
            return _core.as_curl(_calls.quote_bounty(_body(arguments)), options)
        case "post":
            return _core.as_curl(_calls.post_bounty(_body(arguments), idempotency_key=arguments.idempotency_key), options)
        case "cancel":
            return _core.as_curl(_calls.cancel_bounty(arguments.bounty), options)
        case "balance":
            return _core.as_curl(_calls.get_balance(), options)
        case "events":
            return _core.as_curl(_calls.events(after=arguments.after), options)
        case _:
            return _core.as_curl(_calls.get_bounty(arguments.bounty), options)


def _print(lines: list[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _note_error(error: errors.AtomsError) -> None:
    """Say what went wrong, what to do, and what to name when asking for help."""
    _note(f"atoms: {error.message}")
    if isinstance(error, errors.APIStatusError):
        about = [f"code {error.code}" if error.code else f"status {error.status_code}"]
        about += [f"parameter {error.param}"] if error.param else []
        about += [f"policy {', '.join(error.policy_codes)}"] if error.policy_codes else []
        about += [f"request {error.request_id}"] if error.request_id else []
        _note(f"  {'; '.join(about)}")
    if error.next_step:
        _note(f"  Next: {error.next_step}")
