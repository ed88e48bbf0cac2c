"""A lease client over the real API that reads photographs without a model: ``python -m tests.faults.reader LEASE_S``.

It stands where a GPU worker would, and answers at once; what it reads makes the market accept.
"""

import base64
import os
import sys
import time

import numpy as np
from pydantic import JsonValue

from agents_sdk import errors, leases
from verification import calibration

BATCH = 4
LOOK_EVERY_S = 0.2
# Beyond the strictest threshold of the calibration.
SURE = 8.0


def main(lease_s: int) -> None:
    """Lease, read and hand in until killed."""
    table = calibration.table()
    client = leases.LeaseClient(os.environ["ATOMS_URL"], os.environ["ATOMS_LEASE_KEY"], max_retries=0)
    while True:
        try:
            items = client.lease("vision", BATCH, holder="reader", lease_s=lease_s).items
            for item in items:
                client.fetch(item.inputs[0].url, sha256=item.inputs[0].sha256)
                client.complete(item.id, item.token, _readings(item), model_hash=table.model_hash, preprocessing=table.preprocessing)
        except errors.AtomsError as error:
            # The market is down, or the item went to another: what was leased comes back when its lease ends.
            print(type(error).__name__, flush=True)
            items = ()
        if not items:
            time.sleep(LOOK_EVERY_S)


def _readings(item: leases.LeaseItem) -> dict[str, JsonValue]:
    phrases = item.params["phrases"]
    assert isinstance(phrases, list)
    vector = np.random.default_rng(int(item.inputs[0].sha256[:16], 16)).normal(size=64)
    descriptor = base64.b64encode((vector / np.linalg.norm(vector)).astype("<f2").tobytes()).decode()
    return {"labels": [], "phrase_scores": [SURE] * len(phrases), "descriptor": descriptor}


if __name__ == "__main__":
    main(int(sys.argv[1]))
