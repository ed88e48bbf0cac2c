"""What a GPU worker does when its doorbell rings, when it starts, and every few seconds anyway: lease and work until nothing is left."""

import functools
import logging
import threading
import time

import agents_sdk.errors
from agents_sdk import leases
from gpu_workers import decoding, environment, leasing, pool
from gpu_workers.vision import base, loading

log = logging.getLogger(__name__)


class Attendant:
    """One process's worker: its connection, its model, its decoders, and a clock that asks for work though no bell rang."""

    def __init__(self, settings: environment.Environment) -> None:
        self._settings = settings
        self._client = leases.LeaseClient(settings.market_url, settings.lease_key)
        self._decoders = decoding.DecoderPool(settings.decoders)
        self._stopping = threading.Event()
        # One forward pass at a time: the bell and the clock are two threads, the GPU is one.
        self._working = threading.Lock()
        self._clock = threading.Thread(target=self._watch, name="lease-clock", daemon=True)
        # Replay jobs take minutes and run in sandboxes beside the models: their thread waits for its own bell.
        self._replay_rung = threading.Event()
        self._pool = self._open_pool() if settings.replay_key else None
        self._replayer = threading.Thread(target=self._replay, name="replay-pool", daemon=True)

    def start(self) -> None:
        """Load the model, then ask for work every `poll_s` seconds, beside the doorbell."""
        if not self._clock.is_alive():
            self._clock.start()
        if self._pool and not self._replayer.is_alive():
            self._replayer.start()

    def ring_replay(self) -> None:
        """Wake the replay pool's thread; the bell does not wait for what it does."""
        self._replay_rung.set()

    def drain(self) -> leasing.Tally:
        """Work until no run is ready; return what was done. A market that can't be reached ends it: the bell or clock comes again."""
        with self._working:
            try:
                return leasing.work_until_empty(
                    client=self._client,
                    load_model=self._model,
                    decoders=self._decoders,
                    holder=self._settings.holder,
                    is_stopping=self._stopping.is_set,
                )
            except agents_sdk.errors.AtomsError as error:
                log.warning("market not reached: %s", type(error).__name__)
                return leasing.Tally()

    def ask_to_stop(self) -> None:
        """Finish the batch at hand and lease no more."""
        self._stopping.set()
        self._replay_rung.set()

    def stop(self) -> None:
        """Finish the batch at hand and end threads and child processes."""
        self.ask_to_stop()
        for thread in (self._clock, self._replayer):
            if thread.is_alive():
                thread.join(timeout=30)
        with self._working:
            self._decoders.close()
            self._client.close()

    def _model(self) -> base.VisionModel:
        return loading.default_model(self._settings.torch_threads)

    def _open_pool(self) -> pool.Pool:
        client = leases.LeaseClient(self._settings.market_url, self._settings.replay_key)
        return pool.Pool(client=client, holder=self._settings.holder, is_stopping=self._stopping.is_set)

    def _replay(self) -> None:
        assert self._pool is not None
        while not self._stopping.is_set():
            self._replay_rung.clear()
            try:
                self._pool.drain()
            except agents_sdk.errors.AtomsError as error:
                log.warning("market not reached for replay jobs: %s", type(error).__name__)
            self._replay_rung.wait(self._settings.poll_s)

    def _watch(self) -> None:
        started = time.monotonic()
        self._model()
        log.info("vision model loaded in %.1f s", time.monotonic() - started)
        while not self._stopping.is_set():
            self.drain()
            self._stopping.wait(self._settings.poll_s)


@functools.cache
def attendant() -> Attendant:
    """Give this process's attendant.

    Raises:
        environment.EnvironmentIncomplete: a variable is missing.
    """
    return Attendant(environment.read())
