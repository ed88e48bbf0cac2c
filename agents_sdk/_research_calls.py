"""Every call about research bounties, described once for the sync and the async client: arguments in, `_core.Call` out."""

import datetime
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypedDict, Unpack

from pydantic import JsonValue

from agents_sdk import _calls, _core, errors, models, research_models, working_folder

Role = Literal["train", "validation", "holdout", "asset"]
Content = bytes | str | os.PathLike[str]
Data = Mapping[Role, Content | Mapping[str, Content]]
Tree = str | os.PathLike[str] | Mapping[str, str]
Outcome = Literal["WORKED", "FAILED"]

# Slower than 256 kbit/s a transfer is given up.
_SLOWEST_BYTES_S = 32_000


class SpecFields(TypedDict, total=False):
    """How candidates are trained and judged: see "The spec" in docs/api/research.md. Those without a default must be given."""

    steps: int
    rows: int
    sequence: int
    checkpoint_every: int
    wall_s: int
    max_parameters: int
    memory_mib: int
    eval_tokens: int
    min_effect: float
    unpaired_sd: float
    paired_sd: float
    # Those with a default.
    interface: str
    max_tree_bytes: int
    vocabulary: int
    token_bytes: str | None
    max_pairs: int
    hardware: Sequence[str]
    precision: str
    sandbox_level: str
    is_confirmed_on_second_class: bool


class ResearchOptions(SpecFields, total=False):
    """What a research bounty says beyond its tree, data, prices and deadline: the fields of its spec, and these."""

    description: str
    currency: str
    # What a candidate stakes, and a challenger; one run fee and four, unless said.
    bond: _calls.MoneyText
    challenge_stake: _calls.MoneyText
    # How long an accepted candidate may be challenged: "72h".
    challenge_window: str | float
    # False leaves it screened, to be funded later with `research.fund`.
    fund: bool


DEFAULTS: Mapping[str, JsonValue] = {
    "version": 1,
    "interface": "trainer/1",
    "max_tree_bytes": 200_000,
    "metric": "bits_per_byte",
    "vocabulary": 256,
    "token_bytes": None,
    "max_pairs": 8,
    "hardware": ["cpu"],
    "precision": "fp32",
    "sandbox_level": "bwrap-cpu",
    "is_confirmed_on_second_class": False,
}


def data_files(data: Data) -> dict[tuple[str, str], bytes]:
    """Return the bytes of every data file by role and name; a role's only file has the role's name.

    Raises:
        ConfigurationError: a file that can't be read, or none of a role that is needed.
    """
    found: dict[tuple[str, str], bytes] = {}
    for role, given in data.items():
        named = given if isinstance(given, Mapping) else {role: given}
        found |= {(role, name): working_folder.read_data(content) for name, content in named.items()}
    missing = [role for role in ("train", "validation", "holdout") if role not in {each for each, _ in found}]
    if missing:
        raise errors.ConfigurationError(
            f"There is no {' and no '.join(missing)} file.", next_step='Pass data={"train": ..., "validation": ..., "holdout": ...}.'
        )
    return found


class Prepared(NamedTuple):
    """What posting sends: the data files first, by role and name, then the body."""

    body: dict[str, JsonValue]
    files: dict[tuple[str, str], bytes]


def prepare(
    title: str,
    *,
    tree: Tree,
    editable: Sequence[str],
    data: Data,
    budget: _calls.MoneyText,
    reward_per_effect: _calls.MoneyText,
    cap: _calls.MoneyText,
    run_fee: _calls.MoneyText,
    by: str | datetime.datetime,
    **options: Unpack[ResearchOptions],
) -> Prepared:
    """Read tree and data files, and write the body of a research bounty.

    Raises:
        ConfigurationError: a file that can't be read, an amount or a time that can't be meant, or a field that nothing has.
    """
    base, files = working_folder.read_tree(tree), data_files(data)
    unknown = sorted(set(options) - set(ResearchOptions.__annotations__))
    if unknown:
        raise errors.ConfigurationError(f"{unknown[0][:40]!r} is no argument of a research bounty.", next_step="See docs/api/research.md.")
    currency = options.get("currency", "USD")
    amounts = {"budget": budget, "reward_per_effect": reward_per_effect, "cap": cap, "run_fee": run_fee}
    optional = {"bond": options.get("bond"), "challenge_stake": options.get("challenge_stake")}
    given = amounts | {name: amount for name, amount in optional.items() if amount is not None}
    written: dict[str, JsonValue] = {
        "title": title,
        "description": options.get("description", ""),
        "base": dict(base),
        "spec": _spec(base=base, editable=editable, files=files, options=options),
        "fund": options.get("fund", True),
        **{name: _calls.money(amount, currency) for name, amount in given.items()},
    }
    window = options.get("challenge_window")
    if window is not None:
        written["challenge_window_s"] = int(_calls.seconds(window))
    if isinstance(by, datetime.datetime):
        written["deadline"] = _calls.time_text(by)
    else:
        written["deadline_in_s"] = int(_calls.seconds(by))
    return Prepared(written, files)


def _spec(
    *, base: Mapping[str, str], editable: Sequence[str], files: Mapping[tuple[str, str], bytes], options: ResearchOptions
) -> dict[str, JsonValue]:
    manifest: list[JsonValue] = [
        {"name": name, "role": role, "sha256": hashlib.sha256(content).hexdigest(), "byte_count": len(content)}
        for (role, name), content in files.items()
    ]
    given = {name: value for name, value in options.items() if name in SpecFields.__annotations__}
    # A tuple becomes a list.
    plain: dict[str, JsonValue] = json.loads(json.dumps(given, allow_nan=False))
    return {
        **DEFAULTS,
        **plain,
        "base_tree": working_folder.digest_of(base),
        "editable": [editable] if isinstance(editable, str) else list(editable),
        "data": manifest,
    }


def post(body: Mapping[str, JsonValue], *, idempotency_key: str | None) -> _core.Call[research_models.ResearchBounty]:
    """Post a research bounty."""
    return _core.post("/v1/research", _core.as_model(research_models.ResearchBounty), body=body, idempotency_key=idempotency_key)


def improve(
    bounty_id: str, *, budget: _calls.MoneyText, currency: str, idempotency_key: str | None
) -> _core.Call[research_models.ResearchBounty]:
    """Raise the budget of a research bounty."""
    path = f"/v1/research/{_calls.path_id(bounty_id)}/improve"
    body: dict[str, JsonValue] = {"budget": _calls.money(budget, currency)}
    return _core.post(path, _core.as_model(research_models.ResearchBounty), body=body, idempotency_key=idempotency_key)


def quote(body: Mapping[str, JsonValue]) -> _core.Call[research_models.ResearchQuote]:
    """Ask what a research bounty would cost."""
    return _core.post("/v1/research", _core.as_model(research_models.ResearchQuote), body=body, params={"dry_run": "true"})


def send_file(content: bytes) -> _core.Call[research_models.KeptFile]:
    """Hand in a data file; its key is its content's, so that it is sent once."""
    return _core.Call(
        "POST",
        "/v1/research/files",
        _core.as_model(research_models.KeptFile),
        content=content,
        idempotency_key=f"file-{hashlib.sha256(content).hexdigest()}",
    )


def transfer_timeout_s(byte_count: int, usual_s: float) -> float:
    """Return how long to wait for so many bytes."""
    return max(usual_s, byte_count / _SLOWEST_BYTES_S)


def list_bounties(*, mine: bool, status: str, cursor: str) -> _core.Call[models.Page[research_models.ResearchBounty]]:
    """List research bounties."""
    params = ({"mine": "true"} if mine else {}) | ({"status": status} if status else {}) | _calls.paged(cursor)
    return _page("/v1/research", research_models.ResearchBounty, params)


def get(bounty_id: str) -> _core.Call[research_models.ResearchBounty]:
    """Read one research bounty."""
    return _core.get(_path(bounty_id), _core.as_model(research_models.ResearchBounty))


def act(bounty_id: str, action: Literal["fund", "cancel"], *, idempotency_key: str | None) -> _core.Call[research_models.ResearchBounty]:
    """Fund or cancel a research bounty."""
    read = _core.as_model(research_models.ResearchBounty)
    return _core.post(f"{_path(bounty_id)}/{action}", read, idempotency_key=idempotency_key)


def tip(bounty_id: str, *, digest: str = "") -> _core.Call[working_folder.Tip]:
    """Fetch the files of the tip, or of the one with a digest; they are checked against it."""

    def read(content: bytes) -> working_folder.Tip:
        found = _core.model_of(research_models.TreeAnswer, _core.json_of(content))
        if working_folder.digest_of(found.untrusted.files) != found.digest or (digest and found.digest != digest):
            raise errors.DigestMismatch("The files of the tip do not have its digest.")
        return working_folder.Tip(found.bounty, found.number, found.digest, found.editable, found.untrusted)

    return _core.Call("GET", f"{_path(bounty_id)}/tip", read, params={"digest": digest} if digest else {})


def data(bounty_id: str, file: research_models.DataFile, *, base_url: str) -> _core.Call[bytes]:
    """Fetch a public data file."""
    return _core.download(f"{base_url}{_path(bounty_id)}/data/{file.name}", base_url=base_url, sha256=file.sha256)


def announce(bounty_id: str, seal: str, *, idempotency_key: str | None) -> _core.Call[research_models.ResearchCase]:
    """Announce a candidate by its seal."""
    read = _core.as_model(research_models.ResearchCase)
    return _core.post(f"{_path(bounty_id)}/precommits", read, body={"sealed_sha256": seal}, idempotency_key=idempotency_key)


def submit(
    bounty_id: str, candidate: working_folder.Candidate, *, announced: str, salt: str, idempotency_key: str | None
) -> _core.Call[research_models.ResearchCase]:
    """Hand in a candidate."""
    written: dict[str, JsonValue] = {"parent": candidate.parent, "files": dict(candidate.files), "note": candidate.note}
    if candidate.reported_gain is not None:
        written["reported_gain"] = candidate.reported_gain
    if announced:
        written |= {"announced": announced, "salt": salt}
    read = _core.as_model(research_models.ResearchCase)
    return _core.post(f"{_path(bounty_id)}/candidates", read, body=written, idempotency_key=idempotency_key)


def candidates(bounty_id: str, *, mine: bool, cursor: str) -> _core.Call[models.Page[research_models.ResearchCase]]:
    """List a bounty's candidates."""
    params = ({"mine": "true"} if mine else {}) | _calls.paged(cursor)
    return _page(f"{_path(bounty_id)}/candidates", research_models.ResearchCase, params)


def candidate(candidate_id: str) -> _core.Call[research_models.ResearchCase]:
    """Read one candidate."""
    return _core.get(f"/v1/candidates/{_calls.path_id(candidate_id)}", _core.as_model(research_models.ResearchCase))


def challenge(candidate_id: str, *, statement: str, idempotency_key: str | None) -> _core.Call[research_models.Challenge]:
    """Challenge an accepted candidate."""
    path = f"/v1/candidates/{_calls.path_id(candidate_id)}/challenge"
    read = _core.as_model(research_models.Challenge)
    return _core.post(path, read, body={"statement": statement}, idempotency_key=idempotency_key)


def leaderboard(bounty_id: str, *, cursor: str) -> _core.Call[models.Page[research_models.Leader]]:
    """Read the leaderboard."""
    return _page(f"{_path(bounty_id)}/leaderboard", research_models.Leader, _calls.paged(cursor))


def lineage(bounty_id: str, *, cursor: str) -> _core.Call[models.Page[research_models.TipRow]]:
    """Read the chain of tips."""
    return _page(f"{_path(bounty_id)}/lineage", research_models.TipRow, _calls.paged(cursor))


def ideas(bounty_id: str, *, status: str, cursor: str) -> _core.Call[models.Page[research_models.Idea]]:
    """List the ideas of a bounty."""
    params = ({"status": status} if status else {}) | _calls.paged(cursor)
    return _page(f"{_path(bounty_id)}/ideas", research_models.Idea, params)


def add_idea(bounty_id: str, text: str, *, idempotency_key: str | None) -> _core.Call[research_models.Idea]:
    """Queue an idea."""
    read = _core.as_model(research_models.Idea)
    return _core.post(f"{_path(bounty_id)}/ideas", read, body={"text": text}, idempotency_key=idempotency_key)


def move_idea(
    idea_id: str, action: Literal["hold", "release", "finish"], body: Mapping[str, JsonValue], *, idempotency_key: str | None
) -> _core.Call[research_models.Idea]:
    """Take an idea up, give it back, or say what came of it."""
    path = f"/v1/ideas/{_calls.path_id(idea_id)}/{action}"
    return _core.post(path, _core.as_model(research_models.Idea), body=body, idempotency_key=idempotency_key)


def end_of_idea(outcome: Outcome, *, candidate: str, reported_gain: float | None, result: str) -> dict[str, JsonValue]:
    """Write what came of an idea."""
    body: dict[str, JsonValue] = {"outcome": outcome, "result": result}
    if candidate:
        body["candidate"] = candidate
    if reported_gain is not None:
        body["reported_gain"] = reported_gain
    return body


def public_files(spec: research_models.Spec) -> Iterator[research_models.DataFile]:
    """Yield the data files that everybody may fetch."""
    return (file for file in spec.data if file.is_public)


def _path(bounty_id: str) -> str:
    return f"/v1/research/{_calls.path_id(bounty_id)}"


def _page(path: str, model: type[models.M], params: Mapping[str, str]) -> _core.Call[models.Page[models.M]]:
    return _core.Call("GET", path, _core.as_model(models.Page[model]), params=params)  # type: ignore[valid-type]
