"""The attendant: works on the doorbell and, when no bell rings, by its clock; with the real model over real HTTP."""

import io
import threading
from importlib import resources

from PIL import Image

from gpu_workers import environment, jobs, leasing
from tests.gpu_workers.lease_server import KEY, Item, LeaseServer


def coffee() -> bytes:
    target = io.BytesIO()
    shipped = resources.files("skimage.data").joinpath("coffee.png").read_bytes()
    Image.open(io.BytesIO(shipped)).convert("RGB").save(target, "JPEG", quality=90)
    return target.getvalue()


def attendant(url: str) -> jobs.Attendant:
    variables = {
        "ATOMS_URL": url,
        "ATOMS_LEASE_KEY": KEY,
        "ATOMS_GPU_REDIS_URL": "redis://127.0.0.1:1/0",
        "ATOMS_GPU_TORCH_THREADS": "1",
        "ATOMS_GPU_DECODERS": "1",
        "ATOMS_GPU_POLL_S": "0.1",
    }
    return jobs.Attendant(environment.read(variables))


def test_a_bell_is_answered_until_nothing_is_left() -> None:
    items = [Item(coffee(), ["Show a cup of coffee on a table.", "Show a cat."]) for _ in range(3)]
    with LeaseServer(*items) as server:
        worker = attendant(server.url)
        assert worker.drain() == leasing.Tally(completed=3)
        assert worker.drain() == leasing.Tally()
        worker.stop()
    for item in items:
        cup, cat = item.readings["phrase_scores"]
        assert cup > 4.5 > 0 > cat


def test_a_lost_bell_only_delays() -> None:
    item = Item(coffee(), ["Show a cup of coffee on a table."])
    done = threading.Event()
    with LeaseServer(item) as server:
        server.before = lambda step, _item: done.set() if step == "complete" else None
        worker = attendant(server.url)
        worker.start()
        assert done.wait(60)
        worker.stop()
    assert item.state == "DONE"


def test_a_market_out_of_reach_is_no_crash() -> None:
    with LeaseServer() as server:
        url = server.url
    worker = attendant(url)
    assert worker.drain() == leasing.Tally()
    worker.stop()


def test_a_stopping_worker_leases_no_more() -> None:
    item = Item(coffee(), ["Show a cat."])
    with LeaseServer(item) as server:
        worker = attendant(server.url)
        worker.ask_to_stop()
        assert worker.drain() == leasing.Tally()
        worker.stop()
    assert item.state == "READY"
