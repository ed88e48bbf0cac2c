"""``manage.py ledger_audit``: prove the books, or name every difference and exit with 1."""

import sys

from django.core.management.base import BaseCommand

from market.ledger import audit


class Command(BaseCommand):
    help = "Recompute every balance, compare holds, deposits and payouts with the ledger, and exit with 1 on any difference."

    def handle(self, *args: object, **options: object) -> None:  # noqa: ARG002
        """Audit once and print the differences."""
        report = audit.audit()
        for breach in report.breaches:
            self.stderr.write(breach)
        self.stdout.write(
            f"{report.transfer_count} transfers, {report.account_count} accounts, {len(report.checks)} checks of other apps: "
            f"{len(report.breaches)} differences."
        )
        if report.breaches:
            sys.exit(1)
