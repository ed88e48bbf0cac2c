"""Attacks on the market's own rows: front-running, known commits, split gains, null claims. They need a database."""

import secrets

from tasks import clock
from tests import people
from tests.attacks.catalogue import Attack
from tests.attacks.scene import Scene
from tests.verification.research import scenes
from verification.replay import trees
from verification.research import alpha, candidates, tips
from verification.research.models import Candidate


def _front_run(_at: Scene) -> str:
    """He sees a commit on its way and hands it in first; its maker had announced it."""
    task, maker, thief = scenes.post(), people.open_user("maker"), people.open_user("thief")
    edited, salt = scenes.edit(1.30), secrets.token_hex(32)
    whole = trees.apply(tips.current(task).tree.untrusted_files, edited)
    seal = candidates.seal_of(tree_digest=trees.tree_digest(whole), salt=salt)
    announced = candidates.announce(task=task, claimant=maker, sealed_sha256=seal, now=clock.now())
    other = dict(edited)
    other["train.py"] += "# mine\n"
    stolen = scenes.submit(task, edited=other, claimant=thief)
    own = scenes.submit(task, edited=edited, claimant=maker, announced=announced, salt=salt)
    return "place of the pre-commit" if own.place < stolen.place else "the thief is first"


def _known_commit(_at: Scene) -> str:
    task, edited = scenes.post(), scenes.edit(1.30)
    scenes.submit(task, edited=edited)
    try:
        scenes.submit(task, edited=edited)
    except candidates.DuplicateTree:
        return "tree digest"
    return "it was taken twice"


def _stolen_seal(_at: Scene) -> str:
    """He announces another's seal after him, and has neither tree nor salt."""
    task, maker, thief = scenes.post(), people.open_user("maker"), people.open_user("thief")
    edited, salt = scenes.edit(1.30), secrets.token_hex(32)
    whole = trees.apply(tips.current(task).tree.untrusted_files, edited)
    seal = candidates.seal_of(tree_digest=trees.tree_digest(whole), salt=salt)
    announced = candidates.announce(task=task, claimant=maker, sealed_sha256=seal, now=clock.now())
    copied = candidates.announce(task=task, claimant=thief, sealed_sha256=seal, now=clock.now())
    try:
        scenes.submit(task, edited=edited, claimant=thief, announced=announced, salt=salt)
    except candidates.NotAnnounced:
        return "place of the pre-commit" if announced.place < copied.place else "the thief is first"
    return "the seal was used by another"


def _null_claims(_at: Scene) -> str:
    task, claimant = scenes.post(), people.open_user("gambler")
    for tried in range(1_000):
        try:
            scenes.submit(task, 1.50, claimant=claimant)
        except alpha.AlphaSpent:
            return "alpha budget" if tried <= 20 else f"{tried} tries were allowed"
    return "a thousand tries were allowed"


def _own_task(_at: Scene) -> str:
    poster = people.open_user("poster")
    task = scenes.post(poster)
    try:
        scenes.submit(task, claimant=poster)
    except candidates.OwnTask:
        return "nobody deals with himself"
    return f"{Candidate.objects.count()} candidates were taken"


ATTACKS = (
    Attack("A22", "submits to his own task", "nobody deals with himself", _own_task),
    Attack("A23", "front-runs a commit", "place of the pre-commit", _front_run),
    Attack("A23", "announces another's seal", "place of the pre-commit", _stolen_seal),
    Attack("A23", "hands a known commit in again", "tree digest", _known_commit),
    Attack("A24", "claims until the budget is spent", "alpha budget", _null_claims),
)
