"""Webhooks as an agent's program receives them: again and again, late, changed, signed by others; only the market's own are read.

The market takes no webhooks itself yet (its one provider is asked, and does not call), so this is the only signed way in.
"""

import base64
import datetime
import json
import random
from collections.abc import Callable

import standardwebhooks

from agents_sdk import errors, webhooks
from tests.agents_sdk import replies
from tests.faults import campaign

COPIES = 10
# Of Standard Webhooks, and of the page for agents.
WINDOW_S = 300
Delivery = tuple[bytes, dict[str, str]]


def receive(*, seed: int, rounds: int) -> campaign.Report:
    """Deliver ``rounds`` webhooks, half of them not as the market sent them; what was read must be the market's own, each event."""
    chance, report = random.Random(f"{seed} signed"), campaign.Report()
    secret = _secret(chance)
    report.figures |= {"webhooks": 0, "webhooks genuine": 0, "webhooks forged": 0, "webhooks forged and accepted": 0}
    seen: dict[str, bytes] = {}
    sent: dict[str, bytes] = {}
    for number in range(rounds):
        seq = number // COPIES
        genuine = _sign(seq, json.dumps(replies.event(seq)).encode(), secret, age_s=chance.uniform(2 - WINDOW_S, WINDOW_S - 60))
        is_forged = number % 2 == 1
        name, forge = chance.choice(FORGERIES)
        body, headers = forge(genuine, chance) if is_forged else genuine
        report.count("webhooks")
        report.count("webhooks forged" if is_forged else "webhooks genuine")
        if not is_forged:
            sent[f"evt_{seq:032x}"] = body
        try:
            event = webhooks.unwrap(body, headers, secret)
        except errors.WebhookInvalid:
            if not is_forged:
                report.violations.append(f"seed {seed}, webhook {number}: refused, though the market signed it")
            continue
        if is_forged:
            report.count("webhooks forged and accepted")
            report.violations.append(f"seed {seed}, webhook {number}: accepted with {name}")
        else:
            seen.setdefault(event.id, body)
    if seen != sent:
        report.violations.append(f"seed {seed}: {len(seen)} events were read and {len(sent)} sent")
    return report


def _secret(chance: random.Random) -> str:
    return "whsec_" + base64.b64encode(chance.randbytes(24)).decode()


def _sign(seq: int, body: bytes, secret: str, *, age_s: float) -> Delivery:
    at = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(seconds=age_s)
    webhook_id = f"msg_{seq}"
    signature = standardwebhooks.Webhook(secret).sign(webhook_id, at, body.decode())
    return body, {"Webhook-Id": webhook_id, "Webhook-Timestamp": str(int(at.timestamp())), "Webhook-Signature": signature}


def _with_another_secret(genuine: Delivery, chance: random.Random) -> Delivery:
    return _sign(1, genuine[0], _secret(chance), age_s=0)


def _changed_body(genuine: Delivery, chance: random.Random) -> Delivery:
    body, place = bytearray(genuine[0]), chance.randrange(len(genuine[0]))
    body[place] ^= 1 << chance.randrange(7)
    return bytes(body), genuine[1]


def _longer_body(genuine: Delivery, chance: random.Random) -> Delivery:
    return genuine[0] + chance.choice((b" ", b"\n", b"\x00", b"{}")), genuine[1]


def _another_time(genuine: Delivery, chance: random.Random) -> Delivery:
    moved = int(genuine[1]["Webhook-Timestamp"]) + chance.choice((-1, 1, WINDOW_S, -86_400))
    return genuine[0], {**genuine[1], "Webhook-Timestamp": str(moved)}


def _another_id(genuine: Delivery, chance: random.Random) -> Delivery:
    return genuine[0], {**genuine[1], "Webhook-Id": f"msg_x{chance.randrange(1_000)}"}


def _another_signature(genuine: Delivery, chance: random.Random) -> Delivery:
    forged = base64.b64encode(chance.randbytes(chance.choice((0, 16, 31, 32, 33)))).decode()
    return genuine[0], {**genuine[1], "Webhook-Signature": f"v1,{forged}"}


def _another_version(genuine: Delivery, chance: random.Random) -> Delivery:
    version = chance.choice(("v1a", "v2", "V1", ""))
    return genuine[0], {**genuine[1], "Webhook-Signature": genuine[1]["Webhook-Signature"].replace("v1", version, 1)}


def _without_a_header(genuine: Delivery, chance: random.Random) -> Delivery:
    left_out = chance.choice(sorted(genuine[1]))
    return genuine[0], {name: value for name, value in genuine[1].items() if name != left_out}


FORGERIES: tuple[tuple[str, Callable[[Delivery, random.Random], Delivery]], ...] = (
    ("the signature of another secret", _with_another_secret),
    ("a changed body", _changed_body),
    ("a longer body", _longer_body),
    ("another time", _another_time),
    ("another id", _another_id),
    ("another signature", _another_signature),
    ("a signature of another version", _another_version),
    ("a header left out", _without_a_header),
)
