"""Prepares the database of a market that is to be broken: ``python -m tests.faults.cast FILE CLIENTS WORKERS HOOKS`` writes the keys."""

import json
import os
import sys
from pathlib import Path


def main(keys_file: Path, clients: int, workers_a_client: int, hooks_url: str) -> None:
    """Migrate, make the local accounts, and for each client an agent with a webhook, and its workers; write their keys."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
    import django

    django.setup()
    from django.core.management import call_command

    from market.events import delivery
    from tests import people

    call_command("migrate", interactive=False, verbosity=0)
    call_command("bootstrap_local")
    made = []
    for number in range(clients):
        agent = people.open_agent(f"client {number}")
        delivery.add_endpoint(agent=agent, url=hooks_url)
        # Accepted before, so that they may hold as many claims open as anybody.
        workers = [people.open_worker(f"worker {number}", accepted_count=1_000) for _ in range(workers_a_client)]
        made.append({"agent": people.secret_of(agent), "workers": [people.secret_of(worker) for worker in workers]})
    keys_file.write_text(json.dumps(made), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
