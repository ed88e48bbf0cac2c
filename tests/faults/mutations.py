"""Requests that are almost valid: bytes, types, depth, encodings, headers, addresses and forms, changed as a seed says."""

import copy
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from tests.faults import calls


@dataclass(frozen=True)
class Request:
    """What is sent. ``texts`` and ``photo`` are parts of a form, ``body`` those of JSON; ``raw`` is what they were written as."""

    method: str
    path: str
    headers: Mapping[str, str]
    content_type: str = "application/json"
    body: object = None
    texts: tuple[tuple[str, str], ...] = ()
    photo: bytes | None = None
    query: str = ""
    raw: bytes | None = None
    changes: tuple[str, ...] = field(default=())

    def written(self) -> "Request":
        """Write the body, if it is not written yet."""
        if self.raw is not None:
            return self
        if self.method != "POST" and self.body is None:
            return replace(self, raw=b"")
        if self.content_type.startswith("multipart/"):
            return replace(self, raw=calls.form_of(self.texts, self.photo))
        if self.content_type.startswith("application/x-www-form-urlencoded"):
            return replace(self, raw=urlencode(self.texts, errors="surrogatepass").encode())
        return replace(self, raw=_json(self.body))


Change = Callable[[Request, random.Random], Request]


class Literal(str):
    """JSON text that no encoder would write."""


def _deep(depth: int) -> object:
    found: object = 1
    for number in range(depth):
        found = [found] if number % 2 else {"a": found}
    return found


_VALUES: list[object] = [
    None, True, False, 0, 1, -1, 1.5, -0.0, 1e308, 5e-324, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), "", " ", "0", "-1", "1.0", "10.00",
    "999.00", "0.001", "1e3", "NaN", "Infinity", "٣", "10,00", "USD", "usd", "BTC", "true", "null", "x" * 2_000, "é" * 600, "\u202e\u2066",
    "\u0000", "a\nb\r\n\tc", "😀" * 50, "e\u0301" * 100, "' OR 1=1 --", "<script>alert(1)</script>", "../../../etc/passwd", "%00%0a%s%n",
    "{{7*7}}", "2030-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2030-02-30T00:00:00Z", "1900-01-01",
    "https://127.0.0.1/", "http://hooks.example.com/", "https://hooks.example.com:22/", "https://[::1]/", "bty_" + "0" * 32, [], {}, [[]],
    [None], [1] * 300, ["a"] * 50, {"a": {}}, {"": ""}, {"amount": 10, "currency": "USD"}, {"amount": "10.00"}, {"$ref": "#"},
    _deep(3), _deep(15), _deep(17), _deep(60),
    Literal("NaN"), Literal("-Infinity"), Literal("1e999"), Literal("9" * 400), Literal("-9223372036854775809"), Literal("01"),
    Literal('"\\ud800"'), Literal('"\\udc00\\ud800"'), Literal('"\\u0000"'), Literal("'a'"), Literal("undefined"), Literal(""),
]  # fmt: skip
_NAMES = [
    "",
    "id",
    "status",
    "mode",
    "object",
    "__proto__",
    "reward_minor",
    "agent",
    "worker",
    "is_staff",
    "a" * 200,
    "né",
    "\u0000",
    "a.b",
]
_TYPES = [
    "", "text/plain", "application/json; charset=utf-16", "application/json;charset=latin-1", "application/jsonx", "APPLICATION/JSON",
    "*/*", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=",
    "multipart/form-data; boundary=" + "b" * 300, "multipart/form-data; boundary=\xe9", "multipart/mixed; boundary=x",
    "application/json, text/html", "application/xml", "a/b/c", ";", "é/é",
]  # fmt: skip
_HEADERS = {
    "Idempotency-Key": ["", " ", "x" * 121, "a b", "é", "\t", "a,b", "0"],
    "Authorization": [
        "",
        "Bearer",
        "Bearer ",
        "Basic eDp5",
        "bearer  x",
        "Bearer test_agent_" + "A" * 43,
        "Bearer é",
        "Token x",
        "x" * 9_000,
    ],
    "Accept": ["", "*/*", "text/html", "application/json;q=0", "application/xml", "é", "application/json; version=9", ",,,", "a/b" * 500],
    "Accept-Encoding": ["gzip", "gzip;q=é", "br;q=9"],
    "Accept-Language": ["xx-é", "de," * 500],
    "Cookie": ["sessionid=x", "sessionid=" + "a" * 32, "=", ";;;", "é=é", "place=nan,nan", "csrftoken=" + "a" * 31],
    "Host": ["", "evil.example", "127.0.0.1:99999", "127.0.0.1:x", "[::1", "a b", "é"],
    "X-Request-Id": ["req_" + "g" * 32, "", "é", "x" * 5_000],
    "X-Forwarded-For": ["1.2.3.4", "é", ",,,", "::1" * 99],
    "X-Forwarded-Proto": ["http", "https", "é"],
    "X-HTTP-Method-Override": ["DELETE", "PUT"],
    "Content-Encoding": ["gzip", "deflate", "é"],
    "Range": ["bytes=0-1", "bytes=9-1", "bytes=-1", "é"],
    "If-Modified-Since": ["Thu, 01 Jan 1970 00:00:00 GMT", "yesterday"],
    "Expect": ["100-continue", "x"],
}
_QUERIES = [
    "limit=0", "limit=101", "limit=-1", "limit=1e2", "limit=9999999999999999999999", "limit=", "limit=1&limit=2", "cursor=", "cursor=x",
    "cursor=bty_" + "f" * 32, "cursor=%00", "cursor=%F0%9F%98%80", "after=-1", "after=9223372036854775808", "after=%D9%A3", "status=OPEN",
    "status=open", "status=%00", "near=52.5,13.4", "near=nan,nan", "near=inf,0", "near=1,2,3", "near=,", "near=" + "1" * 100,
    "dry_run=true", "dry_run=1", "dry_run=true&dry_run=false", "unknown=1", "=", "&&&", "%", "%zz", "a[]=1", "a=" + "b" * 5_000,
    "format=xml", "_method=DELETE",
]  # fmt: skip
_SEGMENTS = ["", ".", "..", "%2e%2e", "%00", "%2f", "%ff%fe", "\u202e", "a" * 3_000, "-1", "nan", "é", ";a=b", "%F0%9F%98%80", "*", "null"]
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "X", "CONNECT"]
# Most have none: whatever is there is looked at in a process of its own.
_PHOTOS = [*[None] * 40, b"", b"not a photo", b"\xff\xd8\xff"]
_WAYS = ["utf-16", "utf-32", "utf-7", "utf-8-sig", "latin-1", "cp1252"]


def mutate(request: Request, random_: random.Random) -> Request:
    """Change a request in one to three ways."""
    for _ in range(random_.choice([1, 1, 1, 2, 2, 3])):
        change = random_.choice(_of_parts(request)) if random_.random() < 0.6 else random_.choice(_OF_WHOLE)
        request = replace(change(request, random_), changes=(*request.changes, change.__name__.removeprefix("_")))
    return request.written()


def without_photo(request: Request, random_: random.Random) -> Request:
    """Take the photograph out of a form, or leave something there that is none."""
    return replace(request, photo=random_.choice(_PHOTOS), changes=("no photo",))


def _of_parts(request: Request) -> list[Change]:
    """Return the changes that know what the body is made of."""
    if request.raw is not None or request.method != "POST":
        return [_path, _query, _header]
    return (
        [_text_part, _photo_part, _drop_text, _more_texts] if request.content_type != "application/json" else [_value, _value, _drop, _name]
    )


# -- JSON, before it is written --------------------------------------------------------------------------------------------


def _value(request: Request, random_: random.Random) -> Request:
    """Put another value somewhere."""
    body = copy.deepcopy(request.body)
    holders = _holders(body)
    if not holders:
        return replace(request, body=random_.choice(_VALUES))
    holder, name = random_.choice(holders)
    holder[name] = random_.choice(_VALUES)
    return replace(request, body=body)


def _drop(request: Request, random_: random.Random) -> Request:
    body = copy.deepcopy(request.body)
    holders = _holders(body)
    if holders:
        holder, name = random_.choice(holders)
        del holder[name]
    return replace(request, body=body)


def _name(request: Request, random_: random.Random) -> Request:
    body = copy.deepcopy(request.body)
    if isinstance(body, dict):
        body[random_.choice(_NAMES)] = random_.choice(_VALUES)
    return replace(request, body=body)


def _holders(value: object) -> list[tuple[dict[str, object], str]]:
    """List every place of a JSON value that has a name."""
    if isinstance(value, list):
        return [found for part in value for found in _holders(part)]
    if not isinstance(value, dict):
        return []
    return [(value, name) for name in value] + [found for part in value.values() for found in _holders(part)]


def _json(value: object) -> bytes:
    if isinstance(value, Literal):
        text = str(value)
    elif isinstance(value, dict):
        return b"{" + b",".join(json.dumps(name).encode() + b":" + _json(part) for name, part in value.items()) + b"}"
    elif isinstance(value, list):
        return b"[" + b",".join(map(_json, value)) + b"]"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


# -- Forms, before they are written ----------------------------------------------------------------------------------------


def _text_part(request: Request, random_: random.Random) -> Request:
    texts = list(request.texts) or [("note", "")]
    place = random_.randrange(len(texts))
    value = random_.choice(_VALUES)
    texts[place] = (texts[place][0], str(value)[:3_000])
    return replace(request, texts=tuple(texts))


def _drop_text(request: Request, random_: random.Random) -> Request:
    texts = list(request.texts)
    if texts:
        texts.pop(random_.randrange(len(texts)))
    return replace(request, texts=tuple(texts))


def _more_texts(request: Request, random_: random.Random) -> Request:
    name = random_.choice([*_NAMES, *(name for name, _ in request.texts), "photo", "kind", "original_sha256"])
    return replace(request, texts=(*request.texts, *[(name, "x")] * random_.choice([1, 1, 2, 60])))


def _photo_part(request: Request, random_: random.Random) -> Request:
    return replace(request, photo=random_.choice(_PHOTOS))


# -- The whole of it -------------------------------------------------------------------------------------------------------


def _path(request: Request, random_: random.Random) -> Request:
    segments = request.path.split("/")
    place = random_.randrange(1, len(segments))
    old = segments[place]
    changed = [random_.choice(_SEGMENTS), old[::-1], old.upper(), old[:-1], old + "0", old.replace("_", "-"), "sub_" + "0" * 32]
    segments[place] = random_.choice(changed)
    return replace(request, path="/".join(segments) + random_.choice(["", "", "", "/", "//", "?", "#x"]))


def _query(request: Request, random_: random.Random) -> Request:
    return replace(request, query="&".join(random_.choices(_QUERIES, k=random_.choice([1, 1, 2, 3]))))


def _header(request: Request, random_: random.Random) -> Request:
    name = random_.choice(list(_HEADERS))
    return replace(request, headers={**request.headers, name: random_.choice(_HEADERS[name])})


def _no_header(request: Request, random_: random.Random) -> Request:
    kept = random_.choice([*request.headers, ""])
    return replace(request, headers={name: value for name, value in request.headers.items() if name != kept})


def _method(request: Request, random_: random.Random) -> Request:
    return replace(request.written(), method=random_.choice(_METHODS))


def _kind(request: Request, random_: random.Random) -> Request:
    return replace(request.written(), content_type=random_.choice(_TYPES))


def _boundary(request: Request, random_: random.Random) -> Request:
    """Send the body as a form that it is not."""
    return replace(request.written(), content_type=f"multipart/form-data; boundary={random_.choice(['x', calls.BOUNDARY[:-1], 'é'])}")


def _bytes(request: Request, random_: random.Random) -> Request:
    raw = bytearray(request.written().raw or b"{}")
    for _ in range(random_.choice([1, 1, 2, 8])):
        place = random_.randrange(len(raw) + 1)
        how = random_.randrange(3)
        if how == 0:
            raw[place:place] = bytes([random_.randrange(256)])
        elif how == 1:
            del raw[place : place + random_.choice([1, 1, 10, 1000])]
        elif place < len(raw):
            raw[place] ^= 1 << random_.randrange(8)
    return replace(request, raw=bytes(raw))


def _cut(request: Request, random_: random.Random) -> Request:
    raw = request.written().raw or b""
    return replace(request, raw=raw[: random_.randrange(len(raw) + 1)])


def _doubled(request: Request, random_: random.Random) -> Request:
    """Say something twice: the whole body, or its first name."""
    raw = request.written().raw or b"{}"
    first = raw[1:].partition(b",")[0].rstrip(b"}")
    return replace(request, raw=random_.choice([raw + raw, b"{" + first + b"," + raw[1:], b"[" + raw + b"]", b'"' + raw + b'"']))


def _depth(request: Request, random_: random.Random) -> Request:
    depth = random_.choice([17, 100, 2_000, 60_000])
    return replace(
        request, raw=random_.choice([b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth])
    )


def _size(request: Request, random_: random.Random) -> Request:
    raw = request.written().raw or b"{}"
    return replace(request, raw=random_.choice([raw + b" " * 140_000, b" " * 140_000 + raw, b"", b" ", b"\n", b"0" * 131_000]))


def _encoding(request: Request, random_: random.Random) -> Request:
    text = (request.written().raw or b"{}").decode("utf-8", "replace")
    return replace(request, raw=text.encode(random_.choice(_WAYS), "replace"))


_OF_WHOLE: list[Change] = [
    _path, _query, _header, _no_header, _method, _kind, _boundary, _bytes, _bytes, _cut, _doubled, _depth, _size, _encoding,
]  # fmt: skip
