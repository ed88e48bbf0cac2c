"""Lines of text or JSON for a GPU owner. Whatever reaches a terminal has lost its control characters: titles and diffs are strangers'."""

import datetime
import json
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal

from pydantic import JsonValue

from agents_sdk import leases
from gpu_workers.owner import limits, machine, money

# Control, format (zero-width, direction marks), surrogate, private and unassigned characters, and odd line ends.
_UNWANTED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_LONGEST_LINE = 400


def safe(text: str) -> str:
    """Return one line of text that does nothing to a terminal but appear on it."""
    kept = (" " if c in "\n\r\t" else c for c in text if c in "\n\r\t" or unicodedata.category(c) not in _UNWANTED)
    return "".join(kept)[:_LONGEST_LINE].rstrip()


def as_json(value: JsonValue) -> str:
    """Return JSON on one line in ASCII."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def local_time(moment_s: float) -> str:
    """Write a moment (epoch seconds) as local time: the hour today, the day as well otherwise."""
    moment = datetime.datetime.fromtimestamp(moment_s).astimezone()
    today = datetime.datetime.now(moment.tzinfo).date()
    return f"{moment:%H:%M}" if moment.date() == today else f"{moment:%A %Y-%m-%d %H:%M}"


def status(found: Mapping[str, JsonValue] | None, *, wishes: machine.Wishes, in_hand: int) -> list[str]:
    """Show what the program does; `found` is None when none runs."""
    if found is None:
        lines = ["not running  Next: atoms-gpu run"]
        return lines + ([f"  in hand    {in_hand} runs that go on at the next start"] if in_hand else [])
    lines = [_doing(found), *_card(found)]
    waiting = found.get("waiting")
    for each in waiting if isinstance(waiting, list) else []:
        if isinstance(each, dict):
            lines.append(f"  in hand    {each['id']}  {_stage(str(each['stage']))} {each['trouble']}".rstrip())
    host = found.get("host")
    if isinstance(host, dict):
        lines.append(f"  class      {host['class_key']}  sandbox {host['level']}")
    if found.get("open_runs") is not None:
        lines.append(f"  demand     {found['open_runs']} open runs of this class")
    if wishes.is_finishing:
        lines.append("  finishing  no new work is taken; what is done is handed in")
    return lines


def _doing(found: Mapping[str, JsonValue]) -> str:
    run, idle = found.get("run"), found.get("idle")
    if found.get("is_training") and isinstance(run, dict):
        return f"training {run['id']}  step {run['steps_done']} of {run['steps']}"
    if isinstance(idle, dict):
        return f"idle: {idle['code']}  {idle['what']}"
    return "starting"


def _card(found: Mapping[str, JsonValue]) -> list[str]:
    card = found.get("card")
    if not isinstance(card, dict):
        return []
    measures = [f"{card[name]:.0f} {unit}" for name, unit in (("temperature_c", "°C"), ("power_w", "W")) if card.get(name) is not None]
    return [f"  card {card['index']}     {', '.join(measures) or 'without sensors'}"]


_STAGES = {
    "LEASED": "leased",
    "READY": "waits to be trained",
    "TRAINED": "trained; its report is being sealed",
    "SEALED": "sealed; waits until all runs of its case are in",
    "DUE": "its report is being handed in",
    "REVEALED": "its checkpoints are being handed in",
    "GIVING_BACK": "is being given back",
}


def _stage(stage: str) -> str:
    return _STAGES.get(stage, stage)


def why_idle(found: Mapping[str, JsonValue] | None) -> list[str]:
    """Show the one reason and what would change it."""
    if found is None:
        return ["not running: No program runs on this folder.", "  changes with  atoms-gpu run"]
    idle = found.get("idle")
    if not isinstance(idle, dict):
        return [_doing(found)]
    until = idle.get("until")
    lines = [f"{idle['code']}: {idle['what']}", f"  changes with  {idle['change']}"]
    return [*lines, f"  at            {local_time(until)}"] if isinstance(until, int | float) else lines


def earnings(runs: Iterable[leases.Replay], sums: Mapping[str, money.Sums]) -> list[str]:
    """Show every run with what it paid, or why it did not, and the sums."""
    lines = []
    for run in runs:
        paid = f"{run.pay}" if run.pay is not None else "-"
        why = f"  {run.reason}" + (f": {run.reason_text}" if run.reason_text else "") if run.reason else ""
        due = f"  payable {run.payable_at:%Y-%m-%d}" if run.money_status == "PENDING" and run.payable_at else ""
        appeal = f"  appeal {run.appeal.status.lower()}" if run.appeal else ""
        lines.append(f"{run.id}  {run.money_status.lower() or '-':8}{paid:>14}  {run.status}{due}{why}{appeal}")
    for currency, sum_ in sorted(sums.items()):
        lines.append(f"paid {sum_.paid} {currency}   pending {sum_.pending} {currency}")
    return lines or ["no runs yet"]


def windows(found: Iterable[money.Window]) -> list[str]:
    """Show what the last days brought, a line for each span and currency."""
    return [
        f"last {each.days:>2} days   earned {each.earned} {each.currency}   pending {each.pending} {each.currency}"
        f"   lost {each.lost} {each.currency}"
        for each in found
    ]


_APPEALS = {
    "OPEN": "is open: the trusted pool trains the run again, whole. This costs you nothing.",
    "OVERTURNED": "the pool came to the same: the run is paid, and what your stake lost is put back.",
    "STANDS": "the pool came to other weights: the finding stands.",
    "UNDECIDED": "the pool could not tell: what your stake lost is put back, the run is not paid.",
}


def appealed(run: leases.Replay) -> list[str]:
    """Show what has become of an appeal, and where the run and the pool's training of it part."""
    appeal = run.appeal
    if appeal is None:
        return [f"{run.id}  no appeal"]
    lines = [f"{run.id}  appeal {_APPEALS.get(appeal.status, appeal.status)}"]
    if appeal.differs_from_checkpoint is not None:
        where = f"checkpoint {appeal.differs_from_checkpoint}, step {appeal.differs_from_step}"
        lines.append(f"  differs    from {where} on; the page of the run shows both curves")
    return lines


def estimate(expected: money.Estimate | None, owner: limits.Limits, watts: float) -> list[str]:
    """Show what an hour and a kWh of work pay: a range, its n, and what is left after electricity."""
    if expected is None:
        return ["expected pay  nobody knows yet: no run of this class was paid lately"]
    lines = [f"expected pay  {_range(expected)} per hour", f"              {_range(expected.per_kwh(watts))} per kWh at {watts:.0f} W"]
    left = money.net(expected, owner.price_per_kwh, watts)
    if owner.price_per_kwh is None:
        return [*lines, "              set price_per_kwh to see what is left after electricity"]
    if left is None:
        return [
            *lines,
            f"              {owner.price_per_kwh.currency} and {expected.currency} can't be compared: write price_per_kwh in the latter",
        ]
    return [*lines, f"after power   {_range(left)} per hour" + ("  (negative: it pauses)" if left.p50 < 0 else "")]


def _range(expected: money.Estimate) -> str:
    return (
        f"{money.shown(expected.low)} to {money.shown(expected.high)} {expected.currency}, middle {money.shown(expected.p50)}"
        f" (n={expected.n}, {expected.whose})"
    )


def error_of_estimates(found: tuple[Decimal, int] | None) -> list[str]:
    """Show how far estimates of the last seven days were off."""
    if found is None:
        return ["estimates of the last 7 days: none to compare yet (n=0)"]
    return [f"estimates of the last 7 days were off by {found[0] * 100:.0f} % in the middle (n={found[1]})"]


def explained(record: Mapping[str, JsonValue], *, level: str, owner: limits.Limits, local: Mapping[str, JsonValue]) -> list[str]:
    """Show what a run runs: its diff, its limits, its sandbox, its inputs and its pay."""
    params = record.get("params")
    params = params if isinstance(params, dict) else {}
    spec, pay = params.get("spec"), params.get("pay")
    spec, pay = spec if isinstance(spec, dict) else {}, pay if isinstance(pay, dict) else {}
    held = f"{spec.get('wall_s')} s, {spec.get('memory_mib')} MiB, {spec.get('max_parameters')} parameters, {owner.threads} threads"
    lines = [
        f"{record['id']}  {local['state']}",
        f"  title      {params.get('title', '')}   (a stranger's words)",
        f"  bounty     {params.get('bounty') or 'none: a calibration by the market'}",
        f"  pay        {pay.get('amount', '?')} {pay.get('currency', '')}",
        f"  steps      {spec.get('steps')} of {spec.get('rows')} x {spec.get('sequence')} tokens, seed {params.get('seed')}",
        f"  limits     {held}",
        f"  sandbox    asks for {spec.get('sandbox_level')}, runs in {level}: no network, no files of yours, no environment of yours",
    ]
    inputs = record.get("inputs")
    lines += [
        f"  input      {each['role']}  sha256 {each['sha256']}"
        for each in (inputs if isinstance(inputs, list) else [])
        if isinstance(each, dict)
    ]
    diff = str(params.get("diff") or "")
    return [
        *lines,
        "  diff       " + ("against the tip:" if diff else "none: the tree is the tip itself, or a known one"),
        *_indented(diff),
    ]


def _indented(text: str) -> list[str]:
    return [f"    {safe(line)}" for line in text.split("\n")] if text else []
