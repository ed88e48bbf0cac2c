"""`manage.py bootstrap_local`: gives a local market its operator, a funded test agent, a worker and their keys."""

from django.core.management.base import BaseCommand, CommandError

from market.config import local_people
from market.config.environment import ENVIRONMENT


class Command(BaseCommand):
    """Makes what is missing; may run any number of times."""

    help = (
        "Make the operator, the funded test agent, the worker and the GPU host of a local market, and keep their keys in its data folder."
    )

    def handle(self, *args: object, **options: object) -> None:  # noqa: ARG002 - Django's signature
        """Refuse anywhere but in a local market: these accounts have published names."""
        if ENVIRONMENT.atoms_env == "production":
            raise CommandError("bootstrap_local makes test accounts with known names; it does not run in production.")
        local_people.ensure(keys_file=ENVIRONMENT.atoms_data_dir / "keys.json")
        self.stdout.write("The local accounts and keys are ready.")
