"""One valid call of every route about research bounties and replays, each with objects of its own: the makers of `tests.faults.calls`."""

import datetime
import io
import secrets
from collections.abc import Callable, Mapping
from urllib import parse

from market.accounts import keys
from market.accounts.models import Agent, ApiKey, User
from market.bounties.research import maturing, paying, settlement
from market.bounties.research.models import ResearchBounty
from tasks import clock
from tasks.models import WorkerProfile
from tests import people
from tests.faults.made import Made
from tests.market.bounties.research import scene
from tests.verification.research import scenes
from verification.replay import reports
from verification.research import ideas, runs, tips
from verification.research.models import Candidate, Host, Idea, Run

DATA_NAME = "text.bin"


def owner_key(user: User, *, is_trusted: bool = False) -> tuple[ApiKey, str]:
    """Issue a key to a GPU owner's machine, or to one of the trusted pool."""
    return keys.issue(user=user, agent=None, mode="test", scope=ApiKey.Scope.LEASE_REPLAY, name="box", is_trusted=is_trusted)


def bounty_body(agent: Agent, **changes: object) -> dict[str, object]:
    """Return a body for POST /v1/research whose data files are handed in; None leaves a field out."""
    body: dict[str, object] = {
        "title": "Train a small model of bytes better",
        "description": "Anything in train.py may change.",
        "base": scene.BASE,
        "spec": scene.spec_json(agent.owner),
        **{name: usd(amount) for name, amount in PRICES.items()},
        "challenge_window_s": 3600,
        "deadline_in_s": 7 * 24 * 3600,
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


PRICES = {"budget": "100.00", "reward_per_effect": "10.00", "cap": "30.00", "run_fee": "0.50", "bond": "1.00", "challenge_stake": "2.00"}


def usd(amount: str) -> dict[str, str]:
    """Write an amount as the API takes it."""
    return {"amount": amount, "currency": "USD"}


def bounty(agent: Agent) -> ResearchBounty:
    """Open a research bounty."""
    return scene.post(agent, now=clock.now())


def candidate_body(wanted: ResearchBounty, **changes: object) -> dict[str, object]:
    """Return a body for POST .../candidates: a commit on the tip that nobody sent before."""
    return {"parent": tips.current(wanted.task).tree_id, "files": scene.edit(), "note": "wider", "reported_gain": 0.01, **changes}


def accepted(wanted: ResearchBounty) -> Candidate:
    """Let a candidate of somebody new become the tip."""
    return scene.decide(scene.submit(wanted, scene.open_maker(), now=clock.now()), Candidate.Status.ACCEPTED, now=clock.now())


def leased(*, lease_s: int = 600) -> tuple[Run, str]:
    """Lease the calibration of a new owner's machine to a new key of his: a training that needs nobody else."""
    host = scenes.open_host(is_calibrated=False)
    key, secret = owner_key(User.objects.get(pk=host.owner_id))
    (run,) = lease_to(key, host, lease_s=lease_s)
    return run, secret


def lease_to(key: ApiKey, host: Host, *, lease_s: int = 600) -> list[Run]:
    """Lease a run to a machine with a key."""
    return runs.hand_out(key_id=key.pk, user=key.user, host=host, holder="box", limit=1, lease_s=lease_s, modes=("test",))


def queued_idea(wanted: ResearchBounty, author: User | None = None) -> Idea:
    """Queue an idea that nobody had before."""
    text = f"Try width {secrets.randbelow(10**12)}."
    return ideas.add(task=wanted.task, author=author or people.open_user("thinker"), untrusted_text=text, now=clock.now())


def report_body(run: Run) -> dict[str, object]:
    """Return the body that reveals the honest report of a run."""
    return {"token": run.token, "report": scenes.report_of(run).to_json(), "salt": scenes.SALT}


def _of_agent(path: Callable[[ResearchBounty], str], body: Mapping[str, object] | None = None) -> Callable[[Agent], Made]:
    return lambda agent: Made(path(bounty(agent)), people.secret_of(agent), body or {})


def _post(agent: Agent) -> Made:
    body = bounty_body(agent)
    return Made("research", people.secret_of(agent), body, {**body, "title": "Train another model better"})


def _files(agent: Agent) -> Made:
    return Made("research/files", people.secret_of(agent), file=secrets.token_bytes(2_000))


def _improve(agent: Agent) -> Made:
    body = {"budget": {"amount": "110.00", "currency": "USD"}}
    return Made(f"research/{bounty(agent)}/improve", people.secret_of(agent), body, {"budget": {"amount": "111.00", "currency": "USD"}})


def _fund(agent: Agent) -> Made:
    return Made(f"research/{scene.draft(agent, now=clock.now())}/fund", people.secret_of(agent))


def _submit(agent: Agent) -> Made:
    wanted = bounty(agent)
    body = candidate_body(wanted)
    return Made(f"research/{wanted}/candidates", people.secret_of(scene.open_maker()), body, {**body, "note": "wider still"})


def _announce(agent: Agent) -> Made:
    body = {"sealed_sha256": secrets.token_hex(32)}
    return Made(f"research/{bounty(agent)}/precommits", people.secret_of(scene.open_maker()), body)


def _add_idea(agent: Agent) -> Made:
    body = {"text": f"Try width {secrets.randbelow(10**12)}."}
    return Made(f"research/{bounty(agent)}/ideas", people.secret_of(people.open_agent("thinker")), body)


def _candidate(agent: Agent) -> Made:
    wanted = bounty(agent)
    return Made(f"candidates/{scene.submit(wanted, scene.open_maker(), now=clock.now())}", people.secret_of(agent))


def _challenge(agent: Agent) -> Made:
    candidate = accepted(bounty(agent))
    settlement.apply_due(now=clock.now())
    body = {"statement": "Its loss falls before it sees the data."}
    return Made(f"candidates/{candidate}/challenge", people.secret_of(scene.open_maker()), body, {"statement": "It cheats."})


def _on_idea(action: str, body: Mapping[str, object] | None = None) -> Callable[[Agent], Made]:
    def make(agent: Agent) -> Made:
        holder = people.open_agent("holder")
        idea = queued_idea(bounty(agent))
        if action != "hold":
            ideas.hold(idea=idea, holder=User.objects.get(pk=holder.owner_id), now=clock.now())
        return Made(f"ideas/{idea}/{action}", people.secret_of(holder), body or {})

    return make


def _of_owner(path: str) -> Callable[[Agent], Made]:
    return lambda agent: Made(path, leased()[1])


def _register(agent: Agent) -> Made:
    body = {"name": "garage", "class_key": scenes.CLASS, "sandbox_level": "bwrap-cpu", "facts": {"cores": 8}}
    return Made("hosts", owner_key(people.open_user("owner"))[1], body, {**body, "name": "cellar"})


def _replay(agent: Agent) -> Made:
    run, secret = leased()
    return Made(f"replays/{run}", secret)


def _appeal(agent: Agent) -> Made:
    run, secret = leased()
    scenes.train(run, scenes.leaves_of(run, forged_from=1, flavour="no work"))
    scenes.work_pool()
    return Made(f"replays/{run}/appeal", secret)


def _seal(agent: Agent) -> Made:
    run, secret = leased()
    body = {"token": run.token, "seal": reports.seal(scenes.report_of(run), scenes.SALT)}
    return Made(f"leases/{run}/seal", secret, body, {**body, "seal": "0" * 64})


def _hand_in(agent: Agent) -> Made:
    run, secret = leased()
    scenes.seal(run)
    wanted = scenes.reveal(run).wanted_checkpoints
    return Made(f"leases/{run}/artefacts?token={run.token}&index={wanted[0]}", secret, file=secrets.token_bytes(2_000))


def _finish(agent: Agent) -> Made:
    run, secret = leased()
    scenes.seal(run)
    for index in scenes.reveal(run).wanted_checkpoints:
        content = io.BytesIO(f"checkpoint {index} of {run}".encode())
        key_id = scenes.key_id_of(run)
        runs.keep_artefact(run_id=run.pk, token=run.token, key_id=key_id, index=index, stream=content, now=clock.now())
    return Made(f"leases/{run}/finish", secret, {"token": run.token}, {"token": run.token + 1})


def _withdraw(agent: Agent) -> Made:
    now = clock.now()
    wanted, host = bounty(agent), scene.open_host()
    candidate = scene.submit(wanted, scene.open_maker(), now=now)
    run = scene.valid_run(candidate, host, now=now)
    # Whole, as others read it: what it took is part of a class's demand.
    Run.objects.filter(pk=run.pk).update(report=scenes.report_of(run).to_json())
    scene.decide(candidate, Candidate.Status.REJECTED, now=now)
    paying.pay_runs_due(now=now)
    settlement.apply_due(now=now)
    maturing.mature_runs_due(now=now + datetime.timedelta(days=30))
    owner = WorkerProfile.objects.get(pk=host.owner_id)
    return Made("stakes/withdraw", people.secret_of(owner), {"currency": "USD"}, {"currency": "EUR"})


MAKERS: dict[tuple[str, str], Callable[[Agent], Made]] = {
    ("research-list", "GET"): _of_agent(lambda wanted: "research"),
    ("research-list", "POST"): _post,
    ("research-files", "POST"): _files,
    ("research", "GET"): _of_agent(lambda wanted: f"research/{wanted}"),
    ("research-fund", "POST"): _fund,
    ("research-improve", "POST"): _improve,
    ("research-cancel", "POST"): _of_agent(lambda wanted: f"research/{wanted}/cancel"),
    ("research-tip", "GET"): _of_agent(lambda wanted: f"research/{wanted}/tip"),
    ("research-data", "GET"): _of_agent(lambda wanted: f"research/{wanted}/data/{DATA_NAME}"),
    ("research-candidates", "GET"): _of_agent(lambda wanted: f"research/{wanted}/candidates"),
    ("research-candidates", "POST"): _submit,
    ("research-precommits", "POST"): _announce,
    ("research-leaderboard", "GET"): _of_agent(lambda wanted: f"research/{wanted}/leaderboard"),
    ("research-lineage", "GET"): _of_agent(lambda wanted: f"research/{wanted}/lineage"),
    ("research-ideas", "GET"): _of_agent(lambda wanted: f"research/{wanted}/ideas"),
    ("research-ideas", "POST"): _add_idea,
    ("candidate", "GET"): _candidate,
    ("candidate-challenge", "POST"): _challenge,
    ("idea-hold", "POST"): _on_idea("hold"),
    ("idea-release", "POST"): _on_idea("release"),
    ("idea-finish", "POST"): _on_idea("finish", {"outcome": "FAILED", "result": "It diverges."}),
    ("hosts", "GET"): _of_owner("hosts"),
    ("hosts", "POST"): _register,
    ("replays", "GET"): _of_owner("replays"),
    ("replay", "GET"): _replay,
    ("replay-appeal", "POST"): _appeal,
    ("demand", "GET"): lambda agent: Made("demand?class_key=" + parse.quote(scenes.CLASS), leased()[1]),
    ("stakes", "GET"): lambda agent: Made("stakes", people.secret_of(people.open_worker())),
    ("stakes-withdraw", "POST"): _withdraw,
    ("lease-seal", "POST"): _seal,
    ("lease-artefacts", "POST"): _hand_in,
    ("lease-finish", "POST"): _finish,
}
