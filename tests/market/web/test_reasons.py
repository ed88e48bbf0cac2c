"""Reasons: every code that a check can give has words a person can act on."""

import ast
from pathlib import Path

import verification.checks
from market.web import reasons
from verification import verdicts


def _codes_in_checks() -> set[str]:
    """Return every reason code that stands in the checks' sources: the third argument of a result."""
    codes = set()
    for path in Path(verification.checks.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_result = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "CheckResult"
            if isinstance(node, ast.Call) and is_result and len(node.args) > 2 and isinstance(node.args[2], ast.Constant):
                codes.add(str(node.args[2].value))
    return codes


def test_every_code_of_a_check_has_words() -> None:
    codes = _codes_in_checks()
    assert len(codes) > 15
    assert codes - set(reasons.WORDS) == set()
    assert verdicts.DECIDED_BY_PERSON in reasons.WORDS


def test_says_how_far_away_it_was() -> None:
    assert "about 340 m from the place" in reasons.words_for("outside_area", {"distance_m": 340.4})
    assert reasons.words_for("outside_area", {"distance_m": "<b>"}) == reasons.WORDS["outside_area"]
    assert reasons.words_for("no_such_code") == ""
