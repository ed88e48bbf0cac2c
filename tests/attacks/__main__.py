"""``python -m tests.attacks``: every named attack on the judges of commits, and every honest candidate."""

import argparse
import tempfile
from pathlib import Path

from tests.faults import campaign

MODULE = "tests.attacks"


def run(options: argparse.Namespace) -> campaign.Report:
    """Carry out all attacks, judge ``--rounds`` honest candidates, and name what was not caught and what was refused."""
    # Django is set up by now.
    from tests.attacks import catalogue, honest, rows, scene

    report = campaign.Report()
    with tempfile.TemporaryDirectory(prefix="atoms-attacks-") as folder:
        at = scene.Scene(Path(folder))
        for attack in (*catalogue.attacks(), *rows.ATTACKS):
            said = attack.run(at)
            report.count("attacks")
            report.count("caught by their check", catalogue.is_caught(attack, said))
            if not catalogue.is_caught(attack, said):
                report.violations.append(f"{attack.code} {attack.name}: {said}, not {attack.check}")
        for name in list(honest.CANDIDATES)[: options.rounds]:
            judged = at.judge(honest.CANDIDATES[name])
            report.count("honest candidates")
            report.count("refused", judged.score is None or bool(judged.codes))
            if judged.codes:
                report.violations.append(f"honest candidate refused: {name}: {judged.refused_by}")
    report.figures["kinds of attack"] = len({attack.code for attack in (*catalogue.attacks(), *rows.ATTACKS)})
    return report


if __name__ == "__main__":
    campaign.command(MODULE, description="Attack the judges of commits by name.", rounds=29, run=run)
