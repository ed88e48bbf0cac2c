"""Hostile bytes are refused with a 4xx and touch nothing: no 500, no guess, no second meaning."""

import pytest

from market.bounties.models import Bounty
from tests.market.api.caller import Caller

pytestmark = pytest.mark.django_db

HOSTILE = {
    "nothing": b"",
    "not json": b"{",
    "text after": b"{} {}",
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "a string": b'"x"',
    "nan": b'{"slots": NaN}',
    "infinity": b'{"slots": Infinity}',
    "minus infinity": b'{"slots": -Infinity}',
    "huge number": b'{"slots": 9223372036854775808}',
    "very huge number": b'{"slots": ' + b"9" * 5_000 + b"}",
    "huge float": b'{"slots": 1e999}',
    "doubled name": b'{"slots": 1, "slots": 2}',
    "doubled name inside": b'{"place": {"latitude": 1, "latitude": 2}}',
    "nul": b'{"question": "a\\u0000b"}',
    "nul in name": b'{"a\\u0000": 1}',
    "half a pair": b'{"question": "\\ud800"}',
    "half a pair in name": b'{"\\udfff": 1}',
    "latin-1": '{"question": "é"}'.encode("latin-1"),
    "utf-16": '{"question": "e"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "deep list": b'{"a": ' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    "deep object": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "seventeen levels": b'{"a":' * 17 + b"1" + b"}" * 17,
    "comment": b"{/* x */}",
    "single quotes": b"{'a': 1}",
    "raw control": b'{"question": "a\x01b"}',
    "gzip": b"\x1f\x8b\x08\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses(as_agent: Caller, name: str) -> None:
    answer = as_agent.post_raw("bounties", HOSTILE[name])
    assert answer.status in (400, 422), answer.body
    assert answer.body["code"] in ("malformed_body", "invalid_parameter")
    # An answer repeats no foreign bytes.
    assert "9999" not in answer.body["detail"]
    assert not Bounty.objects.exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"--x\r\n",
        b"--x--",
        b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n',
        b'--x\r\nContent-Disposition: form-data; name="' + b"a" * 5_000 + b'"\r\n\r\n1\r\n--x--\r\n',
        b"".join(b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % number for number in range(60)) + b"--x--\r\n",
        b"".join(b'--x\r\nContent-Disposition: form-data; name="photo"; filename="%d"\r\n\r\n1\r\n' % number for number in range(12))
        + b"--x--\r\n",
        b"\x00" * 100,
    ],
)
def test_refuses_broken_forms(as_worker: Caller, raw: bytes) -> None:
    answer = as_worker.post_raw("claims/clm_" + "0" * 32 + "/submissions", raw, content_type="multipart/form-data; boundary=x")
    assert 400 <= answer.status < 500, answer.body


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\u00e9", "application/json"]
)
def test_refuses_forms_without_a_boundary(as_worker: Caller, content_type: str) -> None:
    answer = as_worker.post_raw("claims/clm_" + "0" * 32 + "/submissions", b"--x--", content_type=content_type)
    assert 400 <= answer.status < 500, answer.body


@pytest.mark.parametrize(
    "text", ["bty_", "bty_" + "g" * 32, "clm_" + "0" * 32, "bty_" + "0" * 31, "1", "' OR 1=1", "%00", "bty_" + "0" * 32 + "%0a"]
)
def test_finds_nothing_under_odd_ids(as_agent: Caller, text: str) -> None:
    as_agent.get(f"bounties/{text}").refused(404, "not_found")


def test_refuses_unknown_fields_everywhere(as_agent: Caller, as_worker: Caller, as_machine: Caller) -> None:
    """Mass assignment: no body takes a field that it does not publish."""
    nothing = "0" * 32
    for caller, path in [
        (as_agent, "bounties"),
        (as_agent, f"bounties/bty_{nothing}/fund"),
        (as_agent, f"bounties/bty_{nothing}/cancel"),
        (as_agent, f"bounties/bty_{nothing}/improve"),
        (as_agent, f"submissions/sub_{nothing}/review"),
        (as_agent, "deposits"),
        (as_agent, "webhook_endpoints"),
        (as_worker, f"tasks/tsk_{nothing}/claims"),
        (as_worker, f"claims/clm_{nothing}/extend"),
        (as_worker, f"claims/clm_{nothing}/drop"),
        (as_worker, f"submissions/sub_{nothing}/appeal"),
        (as_worker, f"submissions/sub_{nothing}/waive"),
        (as_worker, "payouts"),
        (as_machine, "leases"),
        (as_machine, f"leases/run_{nothing}/complete"),
        (as_machine, f"leases/run_{nothing}/fail"),
        (as_machine, f"leases/run_{nothing}/heartbeat"),
    ]:
        problem = caller.post(path, {"is_staff": True, "status": "PAID"}).refused(422, "invalid_parameter")
        assert {"is_staff", "status"} <= {error["param"] for error in problem["errors"]}, path
