"""Requests made from the description of the API (`/openapi.json`): each member of each body, each header and each query
parameter has a value that it may have, or one of those that break things. A member that is new in the description is
covered by itself."""

import base64
import gzip
import json
import time
from dataclasses import dataclass, field
from urllib.parse import quote

import zstandard
from hypothesis import strategies as st

from s2cli.wire.frames import encode_frame
from s2cli.wire.s2_pb2 import AppendInput

BASINS = ["generated-basin", "generated-other"]
STREAMS = ["s", "a/b", "ü", "\x7f\n"]
TOKENS = ["t", "a/b"]
SURROGATES = ["\ud800", "a\udfffb", "\udc00\ud800"]
TEXTS = ["", "\0", "a\0b", ".", "..", "x" * 36, "x" * 37, "x" * 64, "x" * 65, "x" * 513, "é" * 32, "é" * 33]
TEXTS += ["\U0010ffff", "\ufeff", "\u2028", "'; DROP TABLE stream; --", "%s%n", "x" * 100_000, *SURROGATES]
NUMBERS = [-1, 0, 1, 999, 1000, 1001, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 53) + 1]
NUMBERS += [(1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63), 10**400, -(10**400), 0.5, -0.0, 1.0, 1e308]
NUMBERS += [float("inf"), float("-inf"), float("nan")]
VALID_TEXTS = [text for text in TEXTS if text not in SURROGATES]
# What json.dumps cannot write: longer than what Python makes a number of, and beyond what a float holds.
RAW_NUMBERS = {"raw-digits": "9" * 5000, "raw-exponent": "1e400", "raw-minus": "-0", "raw-fraction": "1." + "0" * 400}
INSTANTS = [
    "2040-01-01T00:00:00Z",
    "9999-12-31T23:59:60.999999999Z",
    "0001-01-01T00:00:00+23:59",
    "2040-02-30T00:00:00Z",
]
KEYS = [base64.b64encode(bytes(32)).decode(), "x", "x" * 44, "x" * 45]

odd_texts = st.one_of(
    st.sampled_from(TEXTS), st.text(max_size=20), st.text(st.characters(categories=["Cs"]), min_size=1)
)
odd_numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(), st.floats())
odd_values = st.recursive(
    st.one_of(st.none(), st.booleans(), odd_numbers, odd_texts, st.sampled_from(sorted(RAW_NUMBERS))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd_texts, inner, max_size=3)),
    max_leaves=5,
)


@dataclass
class Request:
    method: str
    path: str
    query: str = ""
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes = b""

    def __str__(self):
        return f"{self.method} {self.path}?{self.query} {self.headers} {self.body[:300]!r}"


def requests(document):
    """A strategy for all operations of the description, each as likely as any other."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]

    @st.composite
    def request(draw):
        # One draw for what is as it may be: drawn one by one, Hypothesis repeats much of a request in the next one.
        random = draw(st.randoms(use_true_random=True))
        return _Maker(draw, random, document["components"]["schemas"]).request(*random.choice(operations))

    return request()


class _Maker:
    """Makes one request whose values are all such as they may be, but for one at most that may be anything: where
    several are wrong, the first one hides the others."""

    def __init__(self, draw, random, schemas):
        self._draw = draw
        self._random = random
        self._schemas = schemas
        # The value with this number is the odd one.
        self._odd_in = random.randint(1, 30)

    def request(self, method, path, operation):
        request = Request(method, path)
        query = []
        for parameter in operation.get("parameters", ()):
            name, place = parameter["name"], parameter["in"]
            if not parameter["required"] and not self._has(name, place):
                continue
            if method == "DELETE" and name == "basin":
                name = "basin to delete"  # with one of the others most of the next requests would find nothing
            value = self._value(parameter["schema"], name)
            if name == "s2-stream-config" and value == _CONFIG:
                value = self._good(self._schemas["StreamConfig"], "")
            text = value if isinstance(value, str) else _as_json(value, ascii_only=True).decode()
            if place == "path":
                request.path = request.path.replace(
                    f"{{{parameter['name']}}}", quote(_utf8(text)[:2000], safe="") or "%00"
                )
            elif place == "query":
                query.append(f"{quote(name)}={quote(_utf8(text)[:5000], safe='')}")
            elif header := _header_bytes(text):
                request.headers[name] = header
        for name, value in self._draw(_other_headers).items():
            request.headers.setdefault(name, value)
        if self._random.randint(1, 15) == 1:
            request.headers |= self._draw(_door_headers)
        request.query = "&".join(query)
        if "requestBody" in operation:
            self._add_body(operation["requestBody"]["content"], request)
        return request

    def _has(self, name, place):
        """Whether a parameter is there that need not be. Many requests without a basin would be none."""
        if name in ("s2-basin", "set", "start", "end"):
            return self._draw(st.integers(0, 29)) > 0
        return self._draw(st.integers(0, 3 if place == "header" else 1)) == 0

    def _add_body(self, content, request):
        draw = self._draw
        form = draw(st.sampled_from(sorted(content)))
        if form == "application/json":
            value = self._value(content[form]["schema"], "")
            request.body = _as_json(value, ascii_only=draw(st.integers(0, 9)) > 0)
        else:
            request.body = message = draw(_append_input)
            if form == "s2s/proto":
                compression = draw(st.sampled_from([None, "gzip", "zstd"]))
                request.body = b"".join(encode_frame(message, compression) for _ in range(draw(st.integers(1, 3))))
        request.headers["content-type"] = form.encode()
        encode = draw(st.sampled_from([None, None, gzip.compress, zstandard.compress]))
        if encode is not None and form != "s2s/proto":
            request.body = encode(request.body)
            request.headers["content-encoding"] = b"gzip" if encode is gzip.compress else b"zstd"

    def _value(self, schema, name):
        self._odd_in -= 1
        if self._odd_in == 0:
            # Mostly of a type that gets past the first look.
            return self._draw(st.one_of(odd_texts, odd_numbers, odd_values) if name else odd_values)
        return self._good(schema, name)

    def _good(self, schema, name):
        draw = self._draw
        if "$ref" in schema:
            return self._good(self._schemas[schema["$ref"].rpartition("/")[2]], name)
        variants = schema.get("anyOf") or schema.get("oneOf")
        if variants:
            # Null is one of two, and says the least.
            variants = [variant for variant in variants if variant != {"type": "null"} or draw(st.integers(0, 3)) == 0]
            return self._good(draw(st.sampled_from(variants)), name)
        if "enum" in schema:
            return draw(st.sampled_from(schema["enum"]))
        return getattr(self, f"_{schema['type']}")(schema, name)

    def _object(self, schema, name):
        required = schema.get("required", ())
        made = {
            key: self._value(member, key)
            for key, member in schema.get("properties", {}).items()
            if key in required or draw_often(self._draw)
        }
        if self._draw(st.integers(0, 19)) == 0:
            made["unknown"] = self._draw(odd_values)
        return made

    def _array(self, schema, name):
        most = min(schema.get("maxItems", 3), 3)
        count = self._draw(st.integers(schema.get("minItems", 0), most))
        return [self._value(schema["items"], name) for _ in range(count)]

    def _string(self, schema, name):
        known = KNOWN.get(name)
        if known is None or self._draw(st.integers(0, 9)) == 0:
            known = [
                text for text in VALID_TEXTS if schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", 40)
            ]
        return self._draw(st.sampled_from(known))

    def _boolean(self, schema, name):
        return self._draw(st.booleans())

    def _integer(self, schema, name):
        least, most = schema.get("minimum", 0), schema.get("maximum", 1 << 64)
        now_s = KNOWN_TIMES.get(name)
        if now_s is not None:
            return self._draw(now_s)
        numbers = [number for number in NUMBERS if isinstance(number, int) and least <= number <= most]
        return self._draw(st.one_of(st.integers(least, 20), st.sampled_from(numbers)))

    def _null(self, schema, name):
        return None


def draw_often(draw):
    return draw(st.integers(0, 2)) > 0


_CONFIG = "{}"
KNOWN = {
    "basin": BASINS,
    "basin to delete": ["generated-gone"],
    "s2-basin": BASINS,
    "stream": [*STREAMS, "new-0", "new-1", "new-2", "new-3"],
    "token": TOKENS,
    "id": TOKENS,
    "expires_at": INSTANTS,
    "s2-encryption-key": KEYS,
    "s2-stream-config": [_CONFIG],
    "s2-request-token": ["r", "q"],
    "ops": ["read", "append", "list-basins"],
    "location": ["local"],
    "fencing_token": ["", "f"],
    "storage_class": ["express", "é" * 32, *SURROGATES],
    "headers": ["k", "eA==", "é"],
    "body": ["", "eA==", "é", "x" * 3000],
    "set": ["active-basins", "account-ops", "storage", "append-ops", "read-ops", "append-throughput", "basin-ops"],
}
_times = st.one_of(
    st.sampled_from([0, 3600]), st.sampled_from([86_400, 60, 0]).map(lambda ago_s: int(time.time()) - ago_s)
)
KNOWN_TIMES = {"start": _times, "end": _times, "wait": st.sampled_from([0, 0, 1])}


_other_headers = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.sampled_from([b"application/json", b"application/protobuf", b"text/event-stream", b"x/y"]),
        "accept-encoding": st.sampled_from([b"gzip", b"zstd", b"gzip;q=0, zstd;q=x", b"," * 5000]),
        "last-event-id": st.sampled_from([b"1,2,3", b"%d,%d,%d" % (((1 << 64) - 1,) * 3), b"-1,0,0", b"1e3,1,1", b","]),
        "authorization": st.sampled_from([b"Bearer x", b"Bearer s2_0123456789abcdef_x", b"\xff\xfe", b"Bearer"]),
    },
)

# Most of these are refused before anything else is checked.
_door_headers = st.fixed_dictionaries(
    {},
    optional={
        "host": st.sampled_from([b"localhost:1", b"evil.example", b"[::1]", b"[", b"a" * 3000, b"\xff", b""]),
        "origin": st.sampled_from(
            [b"null", b"http://localhost:1", b"http://evil.example", b"http://[::1", b"://", b"http://" + b"a" * 3000]
        ),
        "access-control-request-method": st.sampled_from([b"PUT", b"x", b"\xff"]),
        "access-control-request-private-network": st.sampled_from([b"true", b"x"]),
        "content-encoding": st.sampled_from([b"gzip", b"br", b"gzip, zstd", b"GZIP ", b"identity", b"\xff"]),
        "expect": st.sampled_from([b"100-continue", b"x"]),
        "content-type": st.sampled_from([b"", b"application/json;charset=x", b"a/b+json", b"\xff", b";" * 3000]),
    },
)

_fields = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"", b"fence", b"trim", b"\xff\xfe", bytes(8), b"\xff" * 8])
)
_names = st.one_of(st.binary(min_size=1, max_size=20), st.binary(min_size=1, max_size=2), _fields)
_u64 = st.one_of(st.integers(0, 20), st.sampled_from([n for n in NUMBERS if isinstance(n, int) and 0 <= n < 1 << 64]))
_record = st.tuples(st.none() | _u64, st.lists(st.tuples(_names, _fields), max_size=2), _fields)
_token_texts = st.sampled_from(["", "x" * 36, "x" * 37, "\0", "ü"])


@st.composite
def _append_input(draw):
    message = AppendInput()
    for timestamp, headers, body in draw(st.lists(_record, max_size=4)):
        record = message.records.add(body=body)
        if timestamp is not None:
            record.timestamp = timestamp
        for name, value in headers:
            record.headers.add(name=name, value=value)
    if draw(st.booleans()):
        message.match_seq_num = draw(_u64)
    if draw(st.booleans()):
        message.fencing_token = draw(_token_texts)
    data = message.SerializeToString()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=10)) + data[at:]
    return data


_append_input = _append_input()


def _as_json(value, *, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    for name, number in RAW_NUMBERS.items():
        text = text.replace(f'"{name}"', number)
    # What UTF-8 cannot write, and a client may send all the same.
    return text.encode("utf-8", "surrogatepass")


def _utf8(text):
    return text.encode("utf-8", "surrogatepass")


def _header_bytes(text):
    """As a header may have it; nothing but controls and line ends is left out, which end the request itself."""
    return bytes(byte for byte in _utf8(text)[:8000] if byte >= 0x20 and byte != 0x7F).strip()
