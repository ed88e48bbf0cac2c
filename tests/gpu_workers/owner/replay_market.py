"""A small HTTP server that hands out replays as the market does: fencing tokens, idempotency keys, seals, checkpoints; state in memory."""

import datetime
import hashlib
import json
import re
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.gpu_workers.owner import work
from verification.replay import reports

KEY = "test_owner_" + "k" * 43
HOST_ID = "hst_" + "9" * 32


@dataclass
class Run:
    """One run of the market's, and what came of it."""

    params: dict[str, Any] = field(default_factory=work.params)
    wanted: tuple[int, ...] = (0, 2)
    # How often a look at a sealed run says "not yet" before its report is due.
    not_yet: int = 0
    id: str = field(default_factory=lambda: f"rpl_{uuid.uuid4().hex}")
    state: str = "READY"
    token: int = 0
    seals: list[str] = field(default_factory=list)
    report: dict[str, Any] | None = None
    artefacts: dict[int, bytes] = field(default_factory=dict)
    reason: str = ""
    appeal: dict[str, Any] | None = None
    steps_done: int = 0
    progress: list[int] = field(default_factory=list)
    hand_outs: int = 0
    # Effects, counted: each must happen once.
    effects: Counter[str] = field(default_factory=Counter)


Answer = tuple[int, dict[str, Any]]
# Called with ("before" or "after", step, run id); may kill whoever asked, or wait.
Notice = Callable[[str, str, str], None]


class ReplayMarket:
    """Serves on a free port of 127.0.0.1 while it is entered."""

    def __init__(self, *runs: Run, class_text: str = work.CLASS_TEXT) -> None:
        self.class_text = class_text
        self.roles = dict(work.ROLES)
        # What an honest training of a run hands in as its checkpoint.
        self.is_honest: Callable[[Run, int, bytes], bool] = lambda run, index, sent: sent == work.checkpoint(run.params["seed"], index)
        self.runs = {run.id: run for run in runs}
        self.files = dict(work.FILES)
        self.lock = threading.Lock()
        self.notice: Notice = lambda when, step, run_id: None
        self.calls: list[str] = []
        self.changed = threading.Condition()
        self.answers: dict[str, tuple[str, Answer]] = {}
        self.is_down = False
        # Steps whose next answer is lost after they were carried out.
        self.lost_answers: list[str] = []
        self.refusal: Answer | None = None
        self.demand: dict[str, Any] = {"open_runs": len(runs), "pay_p50": work.PAY, "seconds_p50": 60.0, "n": 20}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.answer(body)

            def do_GET(self) -> None:
                self.answer(b"")

            def answer(self, body: bytes) -> None:
                path, _, query = self.path.partition("?")
                step, run_id = path.rpartition("/")[2], path.split("/")[3] if path.count("/") > 3 else ""
                step = "lease" if path == "/v1/leases" else step
                outer.tell("before", step, run_id)
                status, content = outer.reply(self.command, path, query, body, dict(self.headers))
                outer.tell("after", step, run_id)
                if status and step in outer.lost_answers:
                    outer.lost_answers.remove(step)
                    status = 0
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                # Whoever asked was killed over it.
                return

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def tell(self, when: str, step: str, run_id: str) -> None:
        if when == "before":
            self.calls.append(step)
        self.notice(when, step, run_id)
        with self.changed:
            self.changed.notify_all()

    def wait_until(self, is_so: Callable[[], bool], *, patience_s: float = 60.0) -> None:
        """Block until something is so that follows from a request."""
        with self.changed:
            assert self.changed.wait_for(is_so, patience_s), f"calls so far: {self.calls}"

    def reply(self, method: str, path: str, query: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        if self.is_down:
            return 0, b""
        if path.startswith("/v1/lease_files/"):
            assert headers["Authorization"] == f"Bearer {KEY}"
            return 200, self.files[path.rpartition("/")[2]]
        with self.lock:
            status, answer = self.refusal or (self._once(path, query, body, headers) if method == "POST" else self._get(path, query))
        return status, json.dumps(answer).encode()

    def _once(self, path: str, query: str, body: bytes, headers: dict[str, str]) -> Answer:
        assert headers["Authorization"] == f"Bearer {KEY}"
        key, digest = headers["Idempotency-Key"], hashlib.sha256(f"{path}?{query}".encode() + body).hexdigest()
        if key in self.answers:
            known, answer = self.answers[key]
            return answer if known == digest else _problem("idempotency_key_reused")
        answer = self._post(path, query, body, headers)
        # What may succeed later is not kept.
        if answer[1].get("code") != "reveal_too_early":
            self.answers[key] = (digest, answer)
        return answer

    def _get(self, path: str, query: str) -> Answer:
        if path == "/v1/schema":
            return 200, {"openapi": "3.1.0", "paths": {f"/{number}": {} for number in range(10_000)}}
        if path == "/v1/demand":
            return 200, self.demand
        if path == "/v1/hosts":
            return 200, {"data": [_host({"class_key": self.class_text, "sandbox_level": "bwrap-cpu"})]}
        if path == "/v1/replays":
            return 200, self._listed(query)
        if path.startswith("/v1/replays/"):
            return 200, self._row(self.runs[path.rpartition("/")[2]])
        return _problem("not_found", 404)

    def _listed(self, query: str) -> dict[str, Any]:
        """Show two runs a page, as the market's pages go."""
        known = sorted(self.runs.values(), key=lambda run: run.id, reverse=True)
        first = int(dict(urllib.parse.parse_qsl(query)).get("cursor", "0"))
        shown = [self._row(run) for run in known[first : first + 2]]
        paid = sum(float(run.params["pay"]["amount"]) for run in known if run.state == "DONE")
        totals = [{"paid": work.PAY | {"amount": f"{paid:.2f}"}, "pending": work.PAY | {"amount": "0.00"}}]
        return {"data": shown, "next_cursor": str(first + 2) if first + 2 < len(known) else "", "totals": totals}

    def _row(self, run: Run) -> dict[str, Any]:
        status = {"DONE": "PAID", "FAILED": "FAILED"}.get(run.state, "PENDING")
        about = {
            "pay": run.params["pay"] if run.state in ("DONE", "FAILED") else None,
            "reason": run.reason,
            "judged_at": datetime.datetime.now(datetime.UTC).isoformat() if run.state in ("DONE", "FAILED") else None,
            "untrusted": {"title": run.params["title"]},
            "bounty": run.params["bounty"],
        }
        return {"id": run.id, "status": run.state, "money_status": status, "appeal": run.appeal, **about}

    def _post(self, path: str, query: str, body: bytes, headers: dict[str, str]) -> Answer:
        if path == "/v1/leases":
            return 200, {"object": "lease", "items": self._hand_out(json.loads(body)), "retry_after_s": 1.0}
        if path == "/v1/hosts":
            return 200, _host(json.loads(body))
        appealed = re.fullmatch(r"/v1/replays/(rpl_[0-9a-f]{32})/appeal", path)
        if appealed:
            return self._appeal(self.runs[appealed[1]])
        match = re.fullmatch(r"/v1/leases/(rpl_[0-9a-f]{32})/(heartbeat|seal|complete|artefacts|finish|fail)", path)
        assert match, path
        run, step = self.runs[match[1]], match[2]
        if step == "artefacts":
            assert headers["Content-Type"] == "application/octet-stream"
            asked = dict(urllib.parse.parse_qsl(query))
            sent: dict[str, Any] = {"token": int(asked["token"]), "index": int(asked["index"]), "content": body}
        else:
            sent = json.loads(body)
        if sent["token"] != run.token or run.state in ("READY", "FAILED", "CANCELLED"):
            return _problem("stale_lease")
        answer: Answer = getattr(self, f"_{step}")(run, sent)
        return answer

    def _appeal(self, run: Run) -> Answer:
        if run.state != "INVALID":
            return _problem("not_appealable")
        run.effects["appeal"] += run.appeal is None
        run.appeal = run.appeal or {"object": "appeal", "status": "OPEN", "differs_from_checkpoint": None, "differs_from_step": None}
        return 200, self._row(run)

    def _hand_out(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        assert (body["kind"], body["host_id"], body["class_key"]) == ("replay", HOST_ID, self.class_text)
        assert re.fullmatch(r"[A-Za-z0-9._:@-]{1,80}", body["holder"])
        ready = [run for run in self.runs.values() if run.state == "READY"][: body["limit"]]
        for run in ready:
            run.state, run.token, run.hand_outs = "LEASED", run.token + 1, run.hand_outs + 1
        until = datetime.datetime.fromtimestamp(time.time() + body["lease_s"], tz=datetime.UTC).isoformat()
        return [
            {
                "id": run.id,
                "token": run.token,
                "lease_until": until,
                "kind": "replay",
                "params": run.params,
                "inputs": [
                    {"sha256": digest, "url": f"{self.url}/v1/lease_files/{digest}", "role": role} for role, digest in self.roles.items()
                ],
            }
            for run in ready
        ]

    def _heartbeat(self, run: Run, sent: dict[str, Any]) -> Answer:
        run.progress.append(sent["progress"]["step"])
        return 200, {"status": run.state}

    def _seal(self, run: Run, sent: dict[str, Any]) -> Answer:
        if sent["seal"] not in run.seals:
            run.seals.append(sent["seal"])
            run.effects["seal"] += 1
        run.state = "SEALED" if run.state == "LEASED" else run.state
        is_due = run.not_yet <= 0
        run.not_yet -= 1
        return 200, {"status": "SEALED", "is_reveal_due": is_due, "retry_after_s": 0.0}

    def _complete(self, run: Run, sent: dict[str, Any]) -> Answer:
        if run.not_yet > 0:
            return _problem("reveal_too_early")
        report = reports.Report.from_json(sent["report"])
        assert reports.is_sealed_by(run.seals[-1], report, sent["salt"])
        if run.report is None:
            run.effects["reveal"] += 1
        run.report, run.state = sent["report"], "REVEALED"
        return 200, {"status": "REVEALED", "wanted_checkpoints": list(run.wanted)}

    def _artefacts(self, run: Run, sent: dict[str, Any]) -> Answer:
        assert run.report is not None
        assert self.is_honest(run, sent["index"], sent["content"])
        run.effects[f"artefact {sent['index']}"] += sent["index"] not in run.artefacts
        run.artefacts[sent["index"]] = sent["content"]
        return 200, {"status": run.state}

    def _finish(self, run: Run, sent: dict[str, Any]) -> Answer:
        if set(run.wanted) - set(run.artefacts):
            return _problem("checkpoint_missing")
        run.effects["pay"] += run.state != "DONE"
        run.state = "DONE"
        return 200, {"status": "DONE"}

    def _fail(self, run: Run, sent: dict[str, Any]) -> Answer:
        run.state, run.reason, run.steps_done = "FAILED", sent["reason"], sent["steps_done"]
        return 200, {"status": "GIVEN_BACK"}


def _host(asked: dict[str, Any]) -> dict[str, Any]:
    return {"id": HOST_ID, "status": "ACTIVE", "valid_count": 3} | {name: asked[name] for name in ("class_key", "sandbox_level")}


def _problem(code: str, status: int = 409) -> Answer:
    return status, {"type": "about:blank", "title": code, "status": status, "code": code, "detail": code.replace("_", " ")}
