"""What must be true of one bounty at every instant: pure functions of its rows, its events and its transfers.

Each check restates a rule of the lifecycle from the rows alone; none of them calls the code that it judges.
"""

import datetime
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Row = dict[str, Any]
Check = Callable[["Story"], Iterator[str]]
CHECKS: list[Check] = []

ENDED = ("SETTLED", "CANCELLED", "EXPIRED", "BLOCKED")
SILENT = ("MACHINE", "SILENCE")
HARD = ("in_place", "in_time", "original")
CLOCK_KEEPS = {"FIRST": "INCONCLUSIVE", "APPEAL": "ACCEPTED"}

# All rows of some bounties, each in one JSON document.
ROWS = """
    SELECT json_build_object(
        'bounty', to_jsonb(b), 'task', to_jsonb(t) - 'terms', 'phrases', jsonb_array_length(t.terms -> 'must_show'),
        'offers', (SELECT json_agg(o ORDER BY version) FROM bounties_offer o WHERE bounty_id = b.id),
        'spends', (SELECT json_agg(s ORDER BY s.id) FROM bounties_spend s WHERE bounty_id = b.id),
        'slots', (SELECT json_agg(s ORDER BY number) FROM tasks_slot s WHERE task_id = t.id),
        'holds', (SELECT json_agg(h ORDER BY kind, slot_number) FROM escrow_hold h WHERE bounty_id = b.id),
        'claims', (SELECT json_agg(to_jsonb(c) || jsonb_build_object('mode', w.mode) ORDER BY c.slot_id, c.slot_token)
                   FROM tasks_claim c JOIN tasks_workerprofile w ON w.user_id = c.worker_id WHERE c.task_id = t.id),
        'submissions', (SELECT json_agg(to_jsonb(s) || jsonb_build_object('stage', k.stage, 'machine_outcome', k.machine_outcome,
                                'machine_decided_at', k.machine_decided_at, 'window_s', k.poster_review_window_s) ORDER BY s.id)
                        FROM tasks_submission s LEFT JOIN verification_case k ON k.submission_id = s.id WHERE s.task_id = t.id),
        'verdicts', (SELECT json_agg(v ORDER BY v.submission_id, v.round) FROM verification_verdict v
                     JOIN tasks_submission s ON s.id = v.submission_id WHERE s.task_id = t.id),
        'reviews', (SELECT json_agg(r ORDER BY r.id) FROM verification_review r
                    JOIN tasks_submission s ON s.id = r.submission_id WHERE s.task_id = t.id),
        'appeals', (SELECT json_agg(a ORDER BY a.submission_id) FROM bounties_appeal a
                    JOIN tasks_submission s ON s.id = a.submission_id WHERE s.task_id = t.id),
        'readers', (SELECT json_agg(json_build_object('submission_id', s.id, 'user_id', key.user_id, 'mode', key.mode))
                    FROM verification_visionrun run JOIN accounts_apikey key ON key.id = run.leased_by_key
                    JOIN tasks_submission s ON s.id = run.case_id WHERE s.task_id = t.id),
        'settlements', (SELECT json_agg(to_jsonb(p) - 'receipt' ORDER BY p.id) FROM bounties_settlement p WHERE bounty_id = b.id)
    )::text
    FROM bounties_bounty b JOIN tasks_task t ON t.id = b.task_id
    WHERE b.id = ANY(%s) ORDER BY b.id
"""


@dataclass(frozen=True)
class Moved:
    """A transfer, as far as a story needs it."""

    source: str
    destination: str
    minor: int
    reason: str


@dataclass(frozen=True)
class Story:
    """A bounty's rows, what its feed said last of each of its subjects, and the transfers through its account."""

    rows: Row
    said: dict[str, Row]
    moved: list[Moved]
    # When each deposit of its agent was confirmed, and how long after that it may be called back.
    deposits: list[datetime.datetime]
    maturity: datetime.timedelta

    @property
    def bounty(self) -> Row:
        """The bounty's own row."""
        bounty: Row = self.rows["bounty"]
        return bounty

    def all(self, name: str) -> list[Row]:
        """Rows of one kind; none is an empty list."""
        return self.rows[name] or []

    def of(self, name: str, submission: Row) -> list[Row]:
        """Rows of one kind that belong to a submission."""
        return [row for row in self.all(name) if row["submission_id"] == submission["id"]]

    def minor(self, reason: str) -> int:
        """What was moved for a reason."""
        return sum(each.minor for each in self.moved if each.reason == reason)

    def count(self, reason: str) -> int:
        """How many transfers have a reason."""
        return sum(each.reason == reason for each in self.moved)


def broken(story: Story) -> list[str]:
    """Return every rule that the story breaks, in words, with the bounty's id."""
    return [f"{check.__name__.replace('_', ' ')}: {words} (bty_{_hex(story.bounty['id'])})" for check in CHECKS for words in check(story)]


def rule(check: Check) -> Check:
    """Add a check; its name is the rule."""
    CHECKS.append(check)
    return check


@rule
def funded_is_captured_and_returned_and_held(story: Story) -> Iterator[str]:
    """Compare the holds with the transfers through the bounty's account."""
    held_path = f"bounty:{_hex(story.bounty['id'])}:held"
    came = sum(each.minor for each in story.moved if held_path in each.destination)
    went = sum(each.minor for each in story.moved if held_path in each.source)
    returned = story.minor("hold_returned")
    holds = story.all("holds")
    for what, rows, book in (
        ("funded", sum(hold["amount_minor"] for hold in holds), came),
        ("captured", sum(hold["captured_minor"] for hold in holds), went - returned),
        ("returned", sum(hold["returned_minor"] for hold in holds), returned),
    ):
        if rows != book:
            yield f"{what} is {rows} in holds and {book} in transfers"
    if came < went:
        yield f"{went} left an account to which {came} came"


@rule
def every_spend_is_held(story: Story) -> Iterator[str]:
    """Compare what keys committed with what is or was held."""
    spent = sum(spend["amount_minor"] for spend in story.all("spends"))
    funded = sum(hold["amount_minor"] for hold in story.all("holds"))
    if spent != funded:
        yield f"keys committed {spent}, holds have {funded}"


@rule
def holds_follow_slots(story: Story) -> Iterator[str]:
    """A slot that may still be paid has its money, all of the newest offer; one that can't be has none."""
    if story.bounty["funded_at"] is None:
        if story.all("holds"):
            yield "an unfunded bounty has holds"
        return
    offer = story.all("offers")[-1]
    holds = {hold["slot_number"]: hold for hold in story.all("holds") if hold["kind"] == "SLOT"}
    for slot in story.all("slots"):
        hold = holds.get(slot["number"])
        if hold is None:
            yield f"slot {slot['number']} has no hold"
            continue
        is_open = slot["lease_state"] in ("READY", "LEASED")
        if is_open and hold["status"] == "HELD" and hold["amount_minor"] != offer["reward_minor"] + offer["fee_minor"]:
            yield f"slot {slot['number']} holds {hold['amount_minor']}, the offer needs {offer['reward_minor'] + offer['fee_minor']}"
        if (is_open and hold["status"] != "HELD") or (slot["lease_state"] == "DONE" and hold["status"] != "CAPTURED"):
            yield f"slot {slot['number']} is {slot['lease_state']}, its hold {hold['status']}"
        if slot["lease_state"] == "DEAD" and hold["status"] == "HELD":
            yield f"slot {slot['number']} is withdrawn, its hold HELD"


@rule
def nothing_is_listed_before_its_money_is_held(story: Story) -> Iterator[str]:
    """Look at the listing and at claims."""
    if story.rows["task"]["status"] == "LISTED" and (story.bounty["status"] != "OPEN" or story.bounty["closed_because"]):
        yield f"listed while {story.bounty['status']} {story.bounty['closed_because']}"
    if story.all("claims") and story.bounty["funded_at"] is None:
        yield "claimed before it was funded"


@rule
def each_slot_is_paid_once(story: Story) -> Iterator[str]:
    """At most one accepted settlement a slot and claim, one settlement a submission, and transfers that say the same."""
    claims = {claim["id"]: claim for claim in story.all("claims")}
    submissions = {submission["id"]: submission for submission in story.all("submissions")}
    paid = [each for each in story.all("settlements") if each["kind"] == "ACCEPTED"]
    by_slot = Counter(claims[submissions[each["submission_id"]]["claim_id"]]["slot_id"] for each in paid)
    by_claim = Counter(submissions[each["submission_id"]]["claim_id"] for each in story.all("settlements") if each["kind"] != "UNPAID")
    by_submission = Counter(each["submission_id"] for each in story.all("settlements"))
    if max((*by_slot.values(), *by_claim.values(), *by_submission.values()), default=0) > 1:
        yield "a slot, a claim or a submission was paid twice"
    for reason, kind, part in (
        ("reward", "ACCEPTED", "worker_minor"),
        ("platform_fee", "ACCEPTED", "fee_minor"),
        ("negative_outcome", "NEGATIVE", "worker_minor"),
    ):
        amounts = [each[part] for each in story.all("settlements") if each["kind"] == kind and each[part]]
        if (story.count(reason), story.minor(reason)) != (len(amounts), sum(amounts)):
            yield f"{story.count(reason)} transfers of {story.minor(reason)} for {reason}, settlements say {len(amounts)} of {sum(amounts)}"


@rule
def each_settlement_pays_what_the_offer_said(story: Story) -> Iterator[str]:
    """Work it out again: the newest offer for a person's word, at least the one of its time for a machine's."""
    submissions = {submission["id"]: submission for submission in story.all("submissions")}
    verdicts = {verdict["id"]: verdict for verdict in story.all("verdicts")}
    for paid in story.all("settlements"):
        submission, verdict = submissions[paid["submission_id"]], verdicts[paid["verdict_id"]]
        reward, fee, negative = paid["worker_minor"], paid["fee_minor"], story.all("offers")[0]["negative_fee_minor"]
        if verdict["outcome"] != submission["status"] or (paid["kind"] == "UNPAID") != (verdict["outcome"] != "ACCEPTED"):
            yield f"settled {paid['kind']} for {verdict['outcome']}, shown as {submission['status']}"
        if paid["kind"] == "NEGATIVE" and (submission["kind"] != "NEGATIVE" or (reward, fee) != (negative, 0)):
            yield f"a negative outcome was paid {reward} and {fee}, not {negative}"
        if paid["kind"] == "ACCEPTED":
            now = [offer for offer in story.all("offers") if _at(offer["created_at"]) <= _at(paid["settled_at"])]
            then = [offer for offer in now if _at(offer["created_at"]) <= _at(submission["received_at"])]
            low = then[-1] if verdict["decided_by"] in SILENT else now[-1]
            if submission["kind"] != "EVIDENCE" or not low["reward_minor"] <= reward <= now[-1]["reward_minor"]:
                offered = f"{low['reward_minor']} to {now[-1]['reward_minor']}"
                yield f"{verdict['decided_by']} accepted {submission['kind']}: paid {reward}, offered {offered}"
            if fee != -(-reward // 10):
                yield f"a fee of {fee} on {reward}"


@rule
def a_slot_has_one_claim_at_a_time(story: Story) -> Iterator[str]:
    """Claims of a slot follow each other, and the slot's lease is that of the newest."""
    by_slot: dict[int, list[Row]] = {}
    for claim in story.all("claims"):
        by_slot.setdefault(claim["slot_id"], []).append(claim)
    slots = {slot["id"]: slot for slot in story.all("slots")}
    for slot_id, claims in by_slot.items():
        for before, after in pairwise(claims):
            if before["ended_at"] is None or _at(before["ended_at"]) > _at(after["created_at"]) or _has_open_work(story, before):
                yield f"claim {after['id']} began before {before['id']} had let slot {slots[slot_id]['number']} go"
        newest, slot = claims[-1], slots[slot_id]
        is_kept = newest["ended_at"] is None or _has_open_work(story, newest)
        if is_kept and (slot["lease_state"], slot["token"]) != ("LEASED", newest["slot_token"]):
            tokens = f"token {slot['token']}, not {newest['slot_token']}"
            yield f"claim {newest['id']} is {newest['status']}, its slot {slot['lease_state']} under {tokens}"
    for slot in story.all("slots"):
        if slot["lease_state"] == "LEASED" and slot["token"] not in [claim["slot_token"] for claim in by_slot.get(slot["id"], [])]:
            yield f"slot {slot['number']} is leased to no claim"


@rule
def claims_keep_their_limits(story: Story) -> Iterator[str]:
    """Nobody works for himself, in the other mode, twice on one task, or after the bounty began to close."""
    cancelled_at = story.bounty["cancel_requested_at"]
    used: Counter[str] = Counter()
    for claim in story.all("claims"):
        handed_in = [each for each in story.all("submissions") if each["claim_id"] == claim["id"]]
        used[claim["worker_id"]] += bool(handed_in) or claim["status"] in ("ACTIVE", "SUBMITTED")
        if claim["worker_id"] == story.rows["task"]["owner_id"]:
            yield "its owner claimed it"
        if claim["mode"] != story.bounty["mode"]:
            yield f"a {claim['mode']} worker claimed a {story.bounty['mode']} task"
        if claim["terms_hash"] != story.bounty["terms_hash"]:
            yield "a claim was made under other terms"
        if cancelled_at and _at(claim["created_at"]) > _at(cancelled_at):
            yield "claimed after it was cancelled"
        if any(_at(each["received_at"]) >= _at(claim["expires_at"]) for each in handed_in):
            yield "handed in after the claim had expired"
    if any(count > 1 for count in used.values()):
        yield "one worker used two slots"


@rule
def verdicts_come_in_turn(story: Story) -> Iterator[str]:
    """One first verdict, and a second one only of an appeal against a rejection; audits decide nothing."""
    for submission in story.all("submissions"):
        verdicts, appeals = story.of("verdicts", submission), story.of("appeals", submission)
        if len(verdicts) > 1 and not (len(verdicts) == 2 and appeals and verdicts[0]["outcome"] == "REJECTED"):
            yield f"{len(verdicts)} verdicts on a submission with {len(appeals)} appeals"
        for verdict in verdicts:
            if verdict["terms_hash"] != story.bounty["terms_hash"]:
                yield "a verdict was made under other terms"
        by = [verdict["decided_by"] for verdict in verdicts]
        persons = [review for review in story.of("reviews", submission) if review["decision"] and review["kind"] != "AUDIT"]
        if by.count("REVIEWER") + by.count("APPEAL") != len(persons):
            yield f"{len(persons)} reviews were decided, verdicts are by {by}"


@rule
def every_rejection_names_a_published_criterion(story: Story) -> Iterator[str]:
    """Look for a criterion that failed among those that follow from the terms."""
    published = {
        "in_place",
        "in_time",
        "sharp",
        "exposed",
        "large_enough",
        "original",
        *(f"shows:{n}" for n in range(story.rows["phrases"])),
    }
    for verdict in story.all("verdicts"):
        named = [line["criterion"] for line in verdict["criteria"] if line["outcome"] == "FAIL"]
        if (verdict["outcome"] == "REJECTED" and not named) or not {line["criterion"] for line in verdict["criteria"]} <= published:
            yield f"{verdict['decided_by']} rejected by {named or 'nothing'}"


@rule
def machine_judgement_is_bounded(story: Story) -> Iterator[str]:
    """A machine accepts where nothing is left open, and rejects a retake by a hard criterion alone."""
    numbers = {submission["id"]: submission["number"] for submission in story.all("submissions")}
    for verdict in story.all("verdicts"):
        if verdict["decided_by"] not in SILENT:
            continue
        outcomes = {line["criterion"]: line["outcome"] for line in verdict["criteria"]}
        if verdict["outcome"] == "ACCEPTED" and not set(outcomes.values()) <= {"PASS", "NOT_APPLICABLE"}:
            yield f"a machine accepted over {outcomes}"
        if verdict["outcome"] == "REJECTED" and numbers[verdict["submission_id"]] == 2 and "FAIL" not in map(outcomes.get, HARD):
            yield f"a machine rejected a retake by {outcomes}"


@rule
def silence_pays(story: Story) -> Iterator[str]:
    """Where the machine passed it and the poster has a window, the poster speaks inside it or silence accepts after it."""
    for submission in story.all("submissions"):
        verdicts = story.of("verdicts", submission)
        if submission["machine_outcome"] != "ACCEPTED" or not submission["window_s"] or not verdicts:
            continue
        ends_at = _at(submission["machine_decided_at"]) + datetime.timedelta(seconds=submission["window_s"])
        first = verdicts[0]
        is_late = _at(first["created_at"]) >= ends_at
        if (first["decided_by"], is_late) not in (("POSTER", False), ("SILENCE", True)) or (is_late and first["outcome"] != "ACCEPTED"):
            yield f"{first['decided_by']} came to {first['outcome']} {'after' if is_late else 'inside'} the window"


@rule
def rejections_can_be_appealed(story: Story) -> Iterator[str]:
    """A rejection stays open for its whole window unless the worker gives in or hands in again, and not a moment longer."""
    for submission in story.all("submissions"):
        said = story.said.get(f"final {submission['id']}", {})
        for appeal in story.of("appeals", submission):
            if _at(appeal["created_at"]) >= _at(submission["appeal_until"]):
                yield "appealed after the window"
        if submission["status"] != "REJECTED" or story.of("appeals", submission):
            continue
        if _at(submission["appeal_until"]) < _at(submission["decided_at"]) + datetime.timedelta(hours=72):
            yield "an appeal window shorter than 72 hours"
        if submission["final_at"] and said.get("actor") != "worker" and _at(submission["final_at"]) < _at(submission["appeal_until"]):
            yield "a rejection became final inside its appeal window"


@rule
def a_retake_ends_the_first(story: Story) -> Iterator[str]:
    """Of two submissions under a claim the first is final."""
    retaken = {submission["claim_id"] for submission in story.all("submissions") if submission["number"] == 2}
    for submission in story.all("submissions"):
        if submission["number"] == 1 and submission["claim_id"] in retaken and submission["final_at"] is None:
            yield "handed in again while the first is open"


@rule
def people_decide_for_strangers_in_time(story: Story) -> Iterator[str]:
    """Nobody reviews or reads his own case, or one claim twice; what the clock decides is as published."""
    submissions = {submission["id"]: submission for submission in story.all("submissions")}
    seen: Counter[tuple[str, str]] = Counter()
    for review in story.all("reviews"):
        submission = submissions[review["submission_id"]]
        if review["reviewer_id"] is not None:
            seen[submission["claim_id"], review["reviewer_id"]] += 1
            if review["reviewer_id"] in (submission["worker_id"], story.rows["task"]["owner_id"]):
                yield f"decided the {review['kind']} review of his own case"
            if review["due_at"] and _at(review["decided_at"]) >= _at(review["due_at"]):
                yield "a person decided after the clock"
    if any(count > 1 for count in seen.values()):
        yield "one person judged a claim twice"
    for reader in story.all("readers"):
        if reader["user_id"] in (submissions[reader["submission_id"]]["worker_id"], story.rows["task"]["owner_id"]):
            yield "a machine read its owner's own case"
        if reader["mode"] == "test" and story.bounty["mode"] == "live":
            yield "a test key read live work"
    for verdict in story.all("verdicts"):
        kind = "FIRST" if verdict["round"] == 1 else "APPEAL"
        if verdict["decided_by"] == "CLOCK" and verdict["outcome"] != CLOCK_KEEPS[kind]:
            yield f"the clock decided {verdict['outcome']} in round {verdict['round']}"


@rule
def the_feed_tells_every_change(story: Story) -> Iterator[str]:
    """Compare each row's status with what the last event about it said."""
    bounty = story.bounty
    said = story.said.get(f"bty_{_hex(bounty['id'])}", {})
    if (said.get("status"), said.get("closed_because")) not in ((bounty["status"], bounty["closed_because"]), ("FILLED", "ACCEPTED")):
        yield f"bounty is {bounty['status']} {bounty['closed_because']}, the feed said {said.get('status')} {said.get('closed_because')}"
    for claim in story.all("claims"):
        said = story.said.get(f"clm_{_hex(claim['id'])}", {})
        if claim["status"] != "SUBMITTED" and said.get("status") != claim["status"]:
            yield f"claim is {claim['status']}, the feed said {said.get('status')}"
    for submission in story.all("submissions"):
        said = story.said.get(f"sub_{_hex(submission['id'])}", {})
        if said.get("status") != submission["status"]:
            yield f"submission is {submission['status']}, the feed said {said.get('status')}"
    for settled in story.all("settlements"):
        times = story.said.get(f"set_{_hex(settled['id'])}", {})
        expected = {"settled": 1, **({"settlement.matured": 1} if settled["matured_at"] else {})}
        if times != expected:
            yield f"the feed told a settlement {times}, not {expected}"


@rule
def money_matures_in_time(story: Story) -> Iterator[str]:
    """Earned becomes payable only when every deposit that may stand behind it can't be called back any more."""
    for settled in story.all("settlements"):
        if not settled["matured_at"]:
            continue
        behind = [at for at in story.deposits if at < _at(settled["settled_at"])]
        if any(_at(settled["matured_at"]) < at + story.maturity for at in behind):
            yield "matured before a deposit behind it had"


@rule
def an_ended_bounty_keeps_nothing(story: Story) -> Iterator[str]:
    """No hold, claim or undecided work is left behind."""
    if story.bounty["status"] not in ENDED:
        return
    if any(hold["status"] == "HELD" for hold in story.all("holds")):
        yield f"{story.bounty['status']} with money held"
    if any(claim["status"] == "ACTIVE" or claim["ended_at"] is None for claim in story.all("claims")):
        yield f"{story.bounty['status']} under a live claim"
    if any(submission["final_at"] is None for submission in story.all("submissions")):
        yield f"{story.bounty['status']} before received work was decided"


@rule
def final_work_is_settled(story: Story) -> Iterator[str]:
    """Final and settled are one; what was accepted is both."""
    settled = {each["submission_id"] for each in story.all("settlements")}
    for submission in story.all("submissions"):
        is_final = submission["final_at"] is not None
        if is_final != (submission["id"] in settled) or (submission["status"] == "ACCEPTED" and not is_final):
            yield f"a submission is {submission['status']}, final {is_final}, settled {submission['id'] in settled}"


def _has_open_work(story: Story, claim: Row) -> bool:
    return any(each["claim_id"] == claim["id"] and each["final_at"] is None for each in story.all("submissions"))


def _hex(name: str) -> str:
    return name.replace("-", "")


def _at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
