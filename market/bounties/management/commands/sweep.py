"""``manage.py sweep``: what the beat does, once, in one process; for a cron line where no beat runs."""

import datetime

from django.core.management.base import BaseCommand

from market.bounties import sweeping
from market.bounties.research import sweeping as research_money
from market.events import delivery
from market.payments import sweeping as payment_sweeping
from tasks import batches, clock
from verification import pipeline
from verification.research import sweeping as research_facts


class Command(BaseCommand):
    help = "Re-drive cases, bounties, research, payments and webhook deliveries that wait, once."

    def handle(self, *args: object, **options: object) -> None:  # noqa: ARG002
        """Run every sweeper once, in the order in which work flows, and say how much each did."""
        now = clock.now()
        batches.for_each([self._verification, self._bounties, self._research, self._payments, self._events], lambda part: part(now))

    def _verification(self, now: datetime.datetime) -> None:
        self.stdout.write(f"verification: {pipeline.sweep(now=now)} cases")

    def _bounties(self, now: datetime.datetime) -> None:
        done = ", ".join(f"{count} {name}" for name, count in sweeping.sweep(now=now).items())
        self.stdout.write(f"bounties: {done}")

    def _research(self, now: datetime.datetime) -> None:
        for name, sweep in (("research", research_facts.sweep), ("research money", research_money.sweep)):
            done = ", ".join(f"{count} {step}" for step, count in sweep(now=now).items())
            self.stdout.write(f"{name}: {done}")

    def _payments(self, now: datetime.datetime) -> None:
        swept = payment_sweeping.sweep(now=now)
        self.stdout.write(f"payments: {swept.payouts_tried} payouts, {swept.events_processed} provider events")

    def _events(self, now: datetime.datetime) -> None:
        self.stdout.write(f"events: {delivery.deliver_due(now=now)} deliveries")
