"""``manage.py ledger_mark``: mark the balances of shared accounts."""

from django.core.management.base import BaseCommand

from market.ledger import marks


class Command(BaseCommand):
    help = "Mark the balances of shared accounts, so that reading them stays fast."

    def handle(self, *args: object, **options: object) -> None:  # noqa: ARG002
        """Mark once."""
        self.stdout.write(f"{marks.mark()} accounts marked.")
