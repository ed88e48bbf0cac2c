"""``manage.py sweep_payments``: what the beat does, once, by hand."""

from django.core.management.base import BaseCommand

from market.payments import sweeping
from tasks import clock


class Command(BaseCommand):
    help = "Ask again for deposits, send payouts, fetch and process providers' news."

    def handle(self, *args: object, **options: object) -> None:  # noqa: ARG002
        """Sweep once and say how much there was."""
        swept = sweeping.sweep(now=clock.now())
        self.stdout.write(
            f"{swept.deposits_asked} deposits asked for again, {swept.payouts_tried} payouts tried, "
            f"{swept.events_stored} events stored, {swept.events_processed} processed."
        )
