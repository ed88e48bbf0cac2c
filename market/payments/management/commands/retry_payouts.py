"""``manage.py retry_payouts``: take up again, by hand, the payouts that were given up while their money is in transit."""

import uuid

from django.core.management.base import BaseCommand, CommandError, CommandParser

from market.payments import payouts
from tasks import batches, clock, ids


class Command(BaseCommand):
    help = "Ask the provider for each payout that was given up; send again what he does not have, or fail it with --fail."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the payouts' ids, and whether to fail instead of sending."""
        parser.add_argument("payouts", nargs="*", metavar="pay_...", help="only these; all that were given up if none is named")
        parser.add_argument("--fail", action="store_true", help="give what the provider does not have back to its worker instead")

    def handle(self, *args: object, **options: object) -> None:  # noqa: ARG002
        """Take each up once and say what became of it; one that fails does not stop the others."""
        named = options["payouts"]
        assert isinstance(named, list)
        chosen = [_pk(text) for text in named] or [payout.pk for payout in payouts.given_up()]
        batches.for_each(chosen, lambda pk: self._retry(pk, is_to_fail=bool(options["fail"])))
        self.stdout.write(f"{len(chosen)} payouts taken up again.")

    def _retry(self, pk: uuid.UUID, *, is_to_fail: bool) -> None:
        payout = payouts.retry_given_up(payout_id=pk, holder="retry_payouts", is_to_fail=is_to_fail, now=clock.now())
        self.stdout.write(f"{payout}: {payout.get_status_display()} {payout.failure}".rstrip())


def _pk(text: str) -> uuid.UUID:
    try:
        return ids.decode("pay", text)
    except ids.MalformedId as error:
        raise CommandError(str(error)) from error
