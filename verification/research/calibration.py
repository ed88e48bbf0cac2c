"""A host's first run: a small known tree on text that every Python ships, so that a machine is known before a poster's money is on it."""

import functools
import hashlib
import secrets
from pathlib import Path
from pydoc_data import topics
from typing import cast

from verification import dispatch
from verification.replay import trees as shapes
from verification.replay.classes import ClassKey
from verification.replay.spec import DataFile, Role, SandboxLevel, Spec
from verification.research import files, trees
from verification.research.models import Host, Run

# Text, not a module: it imports torch, and runs in a sandbox on somebody else's machine.
_TRAIN = Path(__file__).with_name("calibration_train.py.txt")
_SCORED_BYTES = 16_384
_TRAINED_BYTES = 131_072


def ask(*, host: Host) -> Run:
    """Ask a host's calibration run; call it once for each host, under its owner's lock."""
    spec = spec_for(ClassKey.parse(host.class_text), level=cast(SandboxLevel, host.reported_level))
    for content in _texts().values():
        files.store_data(content)
    run = Run.objects.create(
        mode=host.mode,
        kind=Run.Kind.CALIBRATION,
        host=host,
        tree=trees.keep(_tree()),
        spec=spec.to_json(),
        seed=secrets.randbits(63),
        class_text=host.class_text,
        hardware=list(spec.hardware),
        level=spec.sandbox_level,
    )
    dispatch.ring_replay()
    return run


def spec_for(key: ClassKey, *, level: SandboxLevel) -> Spec:
    """Return the spec of a calibration run on a class: 200 steps, five segments, some seconds on one CPU thread."""
    data = tuple(
        DataFile(name=f"{role}.bin", role=role, sha256=hashlib.sha256(content).hexdigest(), byte_count=len(content))
        for role, content in _texts().items()
    )
    return Spec(
        version=1,
        interface="trainer/1",
        base_tree=shapes.tree_digest(_tree()),
        editable=("train.py",),
        max_tree_bytes=100_000,
        data=data,
        steps=200,
        rows=8,
        sequence=64,
        checkpoint_every=40,
        vocabulary=256,
        wall_s=900,
        max_parameters=1_000_000,
        memory_mib=4096,
        eval_tokens=8192,
        metric="bits_per_byte",
        token_bytes=None,
        min_effect=0.01,
        unpaired_sd=0.03,
        paired_sd=0.01,
        max_pairs=2,
        hardware=(key.hardware,),
        precision=key.precision,
        sandbox_level=level,
        is_confirmed_on_second_class=False,
    )


@functools.cache
def _tree() -> dict[str, str]:
    return {"train.py": _TRAIN.read_text(encoding="utf-8")}


@functools.cache
def _texts() -> dict[Role, bytes]:
    # The language reference in the order of its topics' hashes: neighbours in the alphabet are often about the same thing.
    names = sorted(topics.topics, key=lambda name: hashlib.sha256(name.encode()).digest())
    text = "\n\n".join(topics.topics[name].strip() for name in names).encode()
    first, second = _SCORED_BYTES, 2 * _SCORED_BYTES
    return {"validation": text[:first], "holdout": text[first:second], "train": text[second : second + _TRAINED_BYTES]}
