"""Each attack is caught by the check that is named for it, and honest work is not refused."""

from pathlib import Path

import pytest

from tests.attacks import catalogue, cheating, honest, rows, scene

# All of them: `python -m tests.attacks`. Here those that differ most from the base, because each takes ten seconds of a core.
HONEST = ("two optimizers, one orthogonal", "averaged head", "gradient noise from numpy", "tied embeddings", "short rows first")


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> scene.Scene:
    """One scene for all attacks of a process: what is honest there is trained once."""
    return scene.Scene(tmp_path_factory.mktemp("attacks"))


@pytest.mark.parametrize("attack", catalogue.attacks(), ids=lambda attack: f"{attack.code} {attack.name}")
def test_is_caught_by_its_check(at: scene.Scene, attack: catalogue.Attack) -> None:
    said = attack.run(at)
    assert catalogue.is_caught(attack, said), said


@pytest.mark.django_db
@pytest.mark.parametrize("attack", rows.ATTACKS, ids=lambda attack: f"{attack.code} {attack.name}")
def test_gets_nothing_from_the_market(attack: catalogue.Attack, tmp_path: Path) -> None:
    said = attack.run(scene.Scene(tmp_path))
    assert catalogue.is_caught(attack, said), said


@pytest.mark.parametrize("name", HONEST)
def test_does_not_refuse_honest_work(at: scene.Scene, name: str) -> None:
    judged = at.judge(honest.CANDIDATES[name])
    assert judged.codes == ()
    assert judged.score is not None


def test_a_thief_finds_what_is_there(at: scene.Scene) -> None:
    """The control: where the scored text lies within reach, the same attack raises."""
    mark = at.paths["validation.bin"].read_bytes()[2_000:2_048]
    text = cheating.CANDIDATES["seeks the scored text"].replace(cheating.MARK, mark.hex())
    seek, indent = "for path in files_of_the_machine():", " " * 12
    assert indent + seek in text
    text = text.replace(seek, f"open('/tmp/lies-open', 'wb').write(mark * 1000)\n{indent}{seek}")
    judged = at.judge(text)
    assert judged.refused_by in ("smoke:raised", "run:raised")


def test_covers_every_kind() -> None:
    kinds = {attack.code for attack in (*catalogue.attacks(), *rows.ATTACKS)}
    assert kinds == {f"A{number}" for number in range(1, 26)}
    assert len(honest.CANDIDATES) >= 20
