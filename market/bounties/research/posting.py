"""Posting: read the spec and the offer, screen the words, and write the research bounty down. Nothing is held or listed yet."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from market.accounts.models import Agent, ApiKey
from market.bounties import posting as bounty_posting
from market.bounties import rules as bounty_rules
from market.bounties import spending
from market.bounties.posting import BadTerms, FieldError
from market.bounties.pricing import BadOffer
from market.bounties.research import news, pricing
from market.bounties.research.models import ResearchBounty
from market.common import retrying
from market.policy import decisions, screening
from tasks import text
from tasks.kinds import training_replay
from verification.replay import policy, sequential
from verification.replay import spec as specs
from verification.research import posting as task_posting

TITLE_LENGTH = 80
DESCRIPTION_LENGTH = 4000

Offer = pricing.Offer

# What a poster may do and should know before he does.
WARNINGS = {
    "pairs_too_noisy": "spec.paired_sd is more than 0.71 of spec.min_effect: more than 5 % of the candidates that gain 2 min_effects will"
    " not be accepted, and a verdict takes more runs. Ask for a larger min_effect, or train longer."
}


@dataclass(frozen=True, slots=True)
class Quote:
    """What a dry run answers. Money in minor units; ``warnings`` are codes of `WARNINGS`."""

    spec: specs.Spec
    price: pricing.Price
    policy: decisions.Decision
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Draft:
    title: str
    description: str
    spec: specs.Spec
    price: pricing.Price
    policy: decisions.Decision


def quote(
    *,
    agent: Agent,
    key: ApiKey,
    title: str,
    description: str,
    spec_json: Mapping[str, object],
    offer: Offer,
    closes_at: datetime.datetime,
    now: datetime.datetime,
) -> Quote:
    """Say what a research bounty would cost and whether it may be published; nothing is written, no file is looked at.

    Raises:
        market.bounties.posting.BadTerms: a field is malformed or out of its limits.
        market.bounties.posting.AgentSuspended: the agent may not post.
        market.bounties.posting.ForeignKeyUsed: the key is another agent's.
        market.policy.mandates.SpendLimitExceeded: over a limit of the key.
    """
    draft = _draft(agent, key, title, description, spec_json, offer, closes_at, now)
    spending.check(key=key, bounty=None, amount_minor=draft.price.budget_minor, currency=draft.price.currency, now=now)
    is_noisy = draft.spec.paired_sd > sequential.MOST_PAIRED_DEVIATION * draft.spec.min_effect
    return Quote(spec=draft.spec, price=draft.price, policy=draft.policy, warnings=("pairs_too_noisy",) if is_noisy else ())


def post(
    *,
    agent: Agent,
    key: ApiKey,
    title: str,
    description: str,
    spec_json: Mapping[str, object],
    base_files: Mapping[str, str],
    offer: Offer,
    closes_at: datetime.datetime,
    now: datetime.datetime,
) -> ResearchBounty:
    """Write a research bounty down and screen it: it comes back SCREENED, to be funded, or BLOCKED with the policy's codes.

    The data files of the spec are those that the agent's owner has handed in (`verification.research.files`).

    Raises:
        market.bounties.posting.BadTerms: a field is malformed or out of its limits.
        market.bounties.posting.AgentSuspended: the agent may not post.
        market.bounties.posting.ForeignKeyUsed: the key is another agent's.
        verification.replay.trees.MalformedTree: the base is no tree.
        verification.research.posting.OtherBase: the spec means another base.
        verification.research.posting.MissingData: data files of the spec are not here.
    """
    draft = _draft(agent, key, title, description, spec_json, offer, closes_at, now)

    def work() -> ResearchBounty:
        bounty = _write(agent, key, draft, base_files, closes_at, now)
        status = ResearchBounty.Status.SCREENED if draft.policy.is_allowed else ResearchBounty.Status.BLOCKED
        ResearchBounty.objects.filter(pk=bounty.pk, status=ResearchBounty.Status.DRAFT).update(status=status)
        bounty.status = status
        word = "screened" if draft.policy.is_allowed else "blocked"
        news.tell_of_bounty(bounty, type=f"research.{word}", actor="agent", policy_codes=list(draft.policy.codes))
        return bounty

    return retrying.in_transaction(work)


def screen(title: str, description: str) -> decisions.Decision:
    """Ask the rules in force whether a research bounty with these words may be published. It has no place and no country."""
    return screening.screen(text_fields=[title, *description.split("\n")])


def policy_version() -> str:
    """Return the version of the rules that `screen` asks."""
    return f"screening {screening.version()}"


def _draft(
    agent: Agent,
    key: ApiKey,
    title: str,
    description: str,
    spec_json: Mapping[str, object],
    offer: Offer,
    closes_at: datetime.datetime,
    now: datetime.datetime,
) -> _Draft:
    if agent.is_suspended:
        raise bounty_posting.AgentSuspended(f"{agent} is suspended: it can't post until an operator lifts it.")
    if key.agent_id != agent.pk or key.mode != agent.mode:
        raise bounty_posting.ForeignKeyUsed(f"{key} is not a key of {agent}.")
    title = _plain("title", title, 3, TITLE_LENGTH)
    description = "\n".join(_plain("description", line, 0, DESCRIPTION_LENGTH) for line in description.splitlines())
    if len(description) > DESCRIPTION_LENGTH:
        raise BadTerms([FieldError("description", f"must be at most {DESCRIPTION_LENGTH} characters")])
    if not now + datetime.timedelta(seconds=60) <= closes_at <= now + bounty_rules.MAX_LIFE:
        raise BadTerms([FieldError("deadline", f"must be from 1 minute to {bounty_rules.MAX_LIFE.days} days from now")])
    try:
        spec = specs.Spec.from_json(spec_json)
        price = pricing.price(offer=offer, spec=spec, mode=agent.mode)
    except specs.MalformedSpec as error:
        # Judging names the first wrong field, this all of them.
        wrong = training_replay.errors_of(spec_json) or [training_replay.FieldError(error.param, str(error))]
        raise BadTerms([FieldError(f"spec.{path}".removesuffix("."), message) for path, message in wrong]) from error
    except BadOffer as error:
        raise BadTerms([FieldError(error.param, str(error))]) from error
    return _Draft(title, description, spec, price, screen(title, description))


def _plain(param: str, given: str, shortest: int, longest: int) -> str:
    try:
        plain = text.require_plain(given)
    except text.ForbiddenCharacter as error:
        raise BadTerms([FieldError(param, str(error))]) from error
    if not shortest <= len(plain) <= longest:
        raise BadTerms([FieldError(param, f"must be text of {shortest} to {longest} characters")])
    return plain


def _write(
    agent: Agent,
    key: ApiKey,
    draft: _Draft,
    base_files: Mapping[str, str],
    closes_at: datetime.datetime,
    now: datetime.datetime,
) -> ResearchBounty:
    price = draft.price
    task = task_posting.create(
        mode=agent.mode,
        owner=agent.owner,
        title=draft.title,
        description=draft.description,
        spec_json=draft.spec.to_json(),
        base_files=base_files,
        closes_at=closes_at,
        audit_share=price.audit_share,
        audited_segments=policy.segment_count(price.run_fee_minor, draft.spec.segments),
        now=now,
    )
    return ResearchBounty.objects.create(
        agent=agent,
        posted_with=key,
        mode=agent.mode,
        task=task,
        currency=price.currency,
        budget_minor=price.budget_minor,
        reward_per_effect_minor=price.reward_per_effect_minor,
        cap_minor=price.cap_minor,
        run_fee_minor=price.run_fee_minor,
        max_runs=price.max_runs,
        fee_bps=price.fee_bps,
        bond_minor=price.bond_minor,
        challenge_stake_minor=price.challenge_stake_minor,
        challenge_window_s=price.challenge_window_s,
        deadline=closes_at,
        policy_version=policy_version(),
        policy_codes=list(draft.policy.codes),
        created_at=now,
    )
