"""A small HTTP server that hands out vision items as the market's /v1/leases does, with all state in memory."""

import hashlib
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

KEY = "test_lease_" + "k" * 43


@dataclass
class Item:
    raw: bytes
    phrases: object
    sha256: str = ""
    id: str = field(default_factory=lambda: f"run_{uuid.uuid4().hex}")
    state: str = "READY"
    token: int = 0
    lease_until: float = 0.0
    hand_outs: int = 0
    heartbeats: int = 0
    readings: dict[str, Any] = field(default_factory=dict)
    model_hash: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        self.sha256 = self.sha256 or hashlib.sha256(self.raw).hexdigest()


class LeaseServer:
    """Serves on a free port of 127.0.0.1 while it is entered."""

    def __init__(self, *items: Item) -> None:
        self.items = {item.id: item for item in items}
        self.requests: list[str] = []
        self.lock = threading.Lock()
        # Called with (path, item) before a POST about an item is carried out.
        self.before: Any = lambda path, item: None
        # So many of the next successful answers are cut off before they are sent.
        self.lost_answers = 0
        self.are_files_gone = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
                assert self.headers["Authorization"] == f"Bearer {KEY}"
                outer.requests.append(self.path)
                status, answer = outer.post(self.path, body)
                if outer.lost_answers and status == 200:
                    outer.lost_answers -= 1
                    self.close_connection = True
                    return
                self.send(status, json.dumps(answer).encode(), "application/json" if status < 400 else "application/problem+json")

            def do_GET(self) -> None:
                assert self.headers["Authorization"] == f"Bearer {KEY}"
                item = outer.items.get(self.path.rpartition("/")[2])
                if item is None or outer.are_files_gone:
                    self.send(404, b"{}", "application/problem+json")
                else:
                    self.send(200, item.raw, "application/octet-stream")

            def send(self, status: int, content: bytes, media_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/v1/leases":
            with self.lock:
                return 200, {"object": "lease", "items": self._hand_out(body), "retry_after_s": 1.0}
        match = re.fullmatch(r"/v1/leases/(run_[0-9a-f]{32})/(heartbeat|complete|fail)", path)
        assert match
        item = self.items[match[1]]
        self.before(match[2], item)
        with self.lock:
            return self._step(item, match[2], body)

    def _hand_out(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        assert body["kind"] == "vision"
        assert re.fullmatch(r"[A-Za-z0-9._:@-]{1,80}", body["holder"])
        ready = [item for item in self.items.values() if item.state == "READY"][: body["limit"]]
        for item in ready:
            item.state, item.token, item.hand_outs = "LEASED", item.token + 1, item.hand_outs + 1
            item.lease_until = time.time() + body["lease_s"]
        return [
            {
                "id": item.id,
                "object": "lease_item",
                "token": item.token,
                "lease_until": datetime.fromtimestamp(item.lease_until, tz=UTC).isoformat(),
                "kind": "vision",
                "params": {"phrases": item.phrases},
                "inputs": [{"sha256": item.sha256, "url": f"{self.url}/v1/lease_files/{item.id}", "role": "evidence"}],
            }
            for item in ready
        ]

    def _step(self, item: Item, step: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        is_repeat = step == "complete" and item.state == "DONE" and body["token"] == item.token
        if not is_repeat and (item.state != "LEASED" or body["token"] != item.token):
            return 409, {"type": "about:blank", "title": "Stale lease", "status": 409, "code": "stale_lease", "detail": "stale"}
        if step == "heartbeat":
            item.heartbeats += 1
        elif step == "complete":
            item.state, item.readings, item.model_hash = "DONE", body["readings"], body["model_hash"]
        else:
            item.state, item.reason = "FAILED", body["reason"]
        return 200, {"id": item.id, "object": "lease_item", "status": item.state}
