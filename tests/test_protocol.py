"""proto/PROTOCOL.md: its sections exist where they are cited, and its tables say what the code does."""

import json
import re
from pathlib import Path

from s2cli.errors import NO_SIDE_EFFECT_CODES, RETRYABLE_STATUSES, STATUS_BY_CODE
from s2cli.server.api.append import FRAME_TIMEOUT_S
from s2cli.server.api.follow import HEARTBEAT_S
from s2cli.server.api.read import MAX_WAIT_S
from s2cli.server.api.request import MAX_LIST_LIMIT
from s2cli.server.api.routes import METRICS, READ, ROUTES
from s2cli.server.core.cleanup import SWEEP_S
from s2cli.server.core.encryption import CIPHERS, KEY_BYTES, MAX_KEY_CHARS
from s2cli.server.core.stream import MAX_PENDING_BYTES_CROWDED, MAX_PENDING_BYTES_TOTAL
from s2cli.server.http import http2_connection
from s2cli.server.http.content_coding import THRESHOLD_BYTES
from s2cli.server.http.cors import REQUEST_HEADERS, RESPONSE_HEADERS
from s2cli.server.http.exchange import MAX_UNARY_BODY_BYTES, UNARY_BODY_TIMEOUT_S
from s2cli.server.http.host import MAX_CONNECTIONS
from s2cli.server.http.http1_connection import HEAD_TIMEOUT_S, KEEP_ALIVE_S, MAX_HEAD_BYTES, MAX_HEADERS, STALL_S
from s2cli.server.http.http2_floods import IDLE_FRAMES_PER_S, MAX_IDLE_FRAMES, MAX_RESETS, RESETS_PER_S
from s2cli.server.http.http2_flow import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES
from s2cli.server.http.http2_frames import MAX_FRAME_BYTES
from s2cli.server.http.http2_head import MAX_BLOCK_BYTES, MAX_BLOCK_FRAMES
from s2cli.server.http.memory_budget import DEFAULT_LIMIT_BYTES
from s2cli.server.store.bucket.bucket_store import BucketStore
from s2cli.server.store.interface import MAX_REPLIES, MAX_REPLY_AGE_MS, MAX_SEQ_NUM, MAX_STREAMS
from s2cli.server.store.sqlite.engine import SqliteStore
from s2cli.wire import frames, names, protobuf, s2_pb2
from s2cli.wire.configs import MAX_STORAGE_CLASS_BYTES, SYSTEM_DEFAULTS
from s2cli.wire.names import OP_GROUPS

ROOT = Path(__file__).parents[1]
PROTOCOL = (ROOT / "proto" / "PROTOCOL.md").read_text()
SECTIONS = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", PROTOCOL, re.MULTILINE))
NUMBER = r"\d+(?:\.\d+)*"
CITATION = re.compile(
    rf"\bsections?\s+((?:{NUMBER})(?:(?:,\s+|\s+and\s+|,\s+and\s+|\s+to\s+){NUMBER})*)", re.IGNORECASE
)

INTERVALS = ("minute", "hour", "day")


def cited(text: str) -> list[str]:
    """The numbers of all sections that a text names; a citation may go over a line of comments."""
    joined = re.sub(r"\n\s*(?:#|//)?\s*", " ", text)
    return [number for numbers in CITATION.findall(joined) for number in re.findall(NUMBER, numbers)]


def table(number: str) -> list[list[str]]:
    """The cells of all rows of the tables in that section, without heads. An empty first cell repeats the one above."""
    section = re.split(rf"^#+ {re.escape(number)}\b.*", PROTOCOL, maxsplit=1, flags=re.MULTILINE)[1]
    section = re.split(r"^#{2,3} ", section, maxsplit=1, flags=re.MULTILINE)[0]
    rows: list[list[str]] = []
    for found in re.findall(r"^\|(?:[ :-]+\|)+\n((?:\|.*\|\n)+)", section, re.MULTILINE):
        for line in found.splitlines():
            cells = [cell.strip() for cell in line[1:-1].split("|")]
            rows.append([cells[0] or rows[-1][0], *cells[1:]])
    assert rows, number
    return rows


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_a_citation_is_found_in_every_form():
    text = (
        'ends (protocol section 5.2)."""\n# Protocol sections 1.2, 4.7\n# and 16. (protocol\n    sections 5.1 to 5.5)'
    )
    assert cited(text) == ["5.2", "1.2", "4.7", "16", "5.1", "5.5"]


def test_the_sections_are_numbered_without_gaps():
    tops = [int(number) for number in SECTIONS if "." not in number]
    assert sorted(tops) == list(range(1, len(tops) + 1))
    for top in tops:
        below = sorted(int(number.partition(".")[2]) for number in SECTIONS if number.startswith(f"{top}."))
        assert below == list(range(1, len(below) + 1)), top


def test_every_section_that_is_cited_exists():
    files = [ROOT / "README.md", *(path for top in ("s2cli", "proto", "tests") for path in (ROOT / top).rglob("*"))]
    files = [path for path in files if path.suffix in (".py", ".proto", ".md") and "node_modules" not in path.parts]
    files.remove(Path(__file__))
    citations = [(path, number) for path in files for number in cited(path.read_text())]
    assert len(citations) > 100
    unknown = [f"{path.relative_to(ROOT)}: {number}" for path, number in citations if number not in SECTIONS]
    assert not unknown


def test_the_error_codes():
    said = {}
    for codes, status, retryable, harmless, _ in (row for row in table("2.1") if len(row) == 5):
        for code in words(codes):
            said[code] = int(status), retryable == "yes", harmless == "yes"
    done = {
        code: (
            status,
            status in RETRYABLE_STATUSES or code == "transaction_conflict",
            code in NO_SIDE_EFFECT_CODES,
        )
        for code, status in STATUS_BY_CODE.items()
    }
    assert said == done


def test_the_codes_that_the_server_never_answers_with():
    said = {code for row in table("2.1") if row[-1] == "never" for code in words(row[0])}
    server = "".join(path.read_text() for path in (ROOT / "s2cli" / "server").rglob("*.py"))
    assert said == {code for code in STATUS_BY_CODE if f'"{code}"' not in server}


def test_the_headers():
    said = {word.partition(":")[0] for row in table("1.4") for word in words(row[0])}
    done = (REQUEST_HEADERS + b", " + RESPONSE_HEADERS).decode().split(", ")
    assert not set(done) - said - {"retry-after"}


def test_the_parameters():
    assert tuple(word for row in table("5.1") for word in words(row[0])) == READ
    assert tuple(word for row in table("12.1") for word in words(row[0])) == METRICS


def test_the_system_defaults():
    said = {words(row[0])[0]: row[2] for row in table("3.1")}
    done = {}
    for name, value in SYSTEM_DEFAULTS.items():
        group = value if isinstance(value, dict) and name != "retention_policy" else {"": value}
        for member, leaf in group.items():
            done[f"{name}.{member}".rstrip(".")] = (
                leaf if isinstance(leaf, str) else json.dumps(leaf, separators=(",", ":"))
            )
    assert said.keys() == done.keys()
    for name, leaf in done.items():
        assert re.match(rf"`?{re.escape(leaf)}`?($| |,)", said[name]), name


def test_the_flags_of_frames():
    said = [re.findall("0x[0-9a-f]{2}", " ".join(row)) for row in table("6.1")]
    done = [
        [frames.TERMINAL],
        [frames.COMPRESSION_MASK, 0, frames.ZSTD, frames.GZIP, frames.COMPRESSION_MASK],
        [frames.RECONNECT_ADVISED],
        [],
    ]
    assert said == [[f"{flag:#04x}" for flag in flags] for flags in done]


def test_the_deployed_routes():
    said = set()
    for _, cell, success, _ in table("2.2"):
        method = cell.split()[0]
        for path in words(cell):
            said.add((method, path.replace("{id}", "{token}"), frozenset(map(int, re.findall(r"\b20\d\b", success)))))
    done = {
        (route.method, route.path, frozenset(route.answers))
        for route in ROUTES
        if not route.of_introduction and route.path.startswith("/v1/")
    }
    assert said == done


def test_the_published_routes():
    said = set()
    for cell, _ in table("16.2"):
        methods, path = cell.split("`")[0], words(cell)[0]
        for method in re.findall("[A-Z]+", methods):
            if path.startswith("…"):
                said |= {
                    (method, path.replace("…", prefix)) for prefix in ("/v1/streams", "/v1/basins/{basin}/streams")
                }
            else:
                said.add((method, path))
    assert said == {(route.method, route.path) for route in ROUTES if route.of_introduction}


def test_the_messages():
    said: dict[str, dict[int, tuple[str, str]]] = {}
    for message, number, field, kind, _ in table("7"):
        said.setdefault(message, {})[int(number)] = words(field)[0], kind
    done = {
        name: {field.number: (field.name, _kind(field)) for field in message.fields}
        for name, message in s2_pb2.DESCRIPTOR.message_types_by_name.items()
    }
    assert said == done


def _kind(field) -> str:
    of_messages = field.type == field.TYPE_MESSAGE
    names = {field.TYPE_UINT64: "uint64", field.TYPE_BYTES: "bytes", field.TYPE_STRING: "string"}
    kind = field.message_type.name if of_messages else names[field.type]
    if field.is_repeated:
        return f"repeated {kind}"
    return f"optional {kind}" if field.containing_oneof is not None else kind


def test_the_operations_of_access_tokens():
    said = {group: {"read": tuple(words(read)), "write": tuple(words(write))}
            for group, read, write in table("8.2")}  # fmt: skip
    assert said == OP_GROUPS


def test_the_sets_of_metrics_and_their_intervals(shared_server):
    said: dict[str, dict[str, list[str]]] = {}
    for cell, name, _, intervals in table("12.2"):
        path = words(cell)[0].replace("{basin}", "some-basin").replace("{stream}", "some-stream")
        said.setdefault(path, {})[words(name)[0]] = intervals.split(", ")
    for path, sets in said.items():
        unknown = shared_server.request("GET", f"{path}?set=unknown").json()["message"]
        assert unknown.endswith(f"must be one of {', '.join(sets)}")
        for name, intervals in sets.items():
            query = f"{path}?set={name}&start=0&end=3600&interval="
            taken = [word for word in INTERVALS if shared_server.request("GET", query + word).status == 200]
            assert taken == sorted(intervals, key=INTERVALS.index), query


KIB, MIB = 1024, 1024 * 1024
LIMITS = {
    "basin name": f"{names.MIN_BASIN_NAME_BYTES} to {names.MAX_BASIN_NAME_BYTES} bytes",
    "stream name": f"1 to {names.MAX_STREAM_NAME_BYTES} bytes",
    "access token id": f"1 to {names.MAX_TOKEN_ID_BYTES} bytes",
    "request token": f"{names.MAX_REQUEST_TOKEN_BYTES} bytes",
    "fencing token": f"{names.MAX_FENCING_TOKEN_BYTES} bytes",
    "encryption key": f"{MAX_KEY_CHARS} characters, {KEY_BYTES} bytes",
    "storage class, here": f"1 to {MAX_STORAGE_CLASS_BYTES} bytes",
    "names in a list": f"{MAX_LIST_LIMIT}",
    "records in a batch": f"1 to {protobuf.MAX_BATCH_RECORDS}",
    "metered size of a batch, of a record": f"{protobuf.MAX_BATCH_BYTES:,} bytes",
    "what a record counts beside its bytes": (
        f"{protobuf.RECORD_OVERHEAD_BYTES} bytes, and {protobuf.HEADER_OVERHEAD_BYTES} for each header"
    ),
    "unary body, also inflated": f"{MAX_UNARY_BODY_BYTES // MIB} MiB",
    "length in a frame": f"1 to {frames.MAX_LENGTH:,}",
    "message in a frame, also inflated": f"{frames.MAX_MESSAGE_BYTES:,} bytes",
    "compressed from": f"frames {frames.COMPRESSION_THRESHOLD_BYTES} bytes, answers {THRESHOLD_BYTES + 1} bytes",
    "unary read": f"{protobuf.MAX_BATCH_RECORDS} records, {protobuf.MAX_BATCH_BYTES // MIB} MiB, {MAX_WAIT_S} s",
    "heartbeat": "at once at the tail, then after {:g} to {:g} s".format(*HEARTBEAT_S),
    "default retention": f"{SYSTEM_DEFAULTS['retention_policy']['age']:,} s",
    "sweep": f"{SWEEP_S:g} s",
    "streams": f"2^{MAX_STREAMS.bit_length() - 1}",
    "records in a stream": (
        f"2^{MAX_SEQ_NUM.bit_length() - 1}; with `aes-256-gcm` 2^{CIPHERS['aes-256-gcm'].end_seq_num.bit_length() - 1}"
    ),
    "head of a request": f"{MAX_HEAD_BYTES // KIB} KiB; {MAX_HEADERS} headers",
    "time for a head; for a unary body; for a frame of an append session": (
        f"{HEAD_TIMEOUT_S:g} s; {UNARY_BODY_TIMEOUT_S:g} s; {FRAME_TIMEOUT_S:g} s"
    ),
    "memory for readers and unfinished appends together (`--memory-limit`)": f"{DEFAULT_LIMIT_BYTES // MIB} MiB",
    "connections": f"{MAX_CONNECTIONS}",
    "idle connection": f"{KEEP_ALIVE_S:g} s",
    "exchanges over HTTP/2": f"{http2_connection.MAX_EXCHANGES}, or the part of its connection where there are more",
    "streams of one HTTP/2 connection": f"{http2_connection.MAX_STREAMS}",
    "windows of a stream and of a connection over HTTP/2": (
        f"{STREAM_WINDOW_BYTES // MIB} MiB; {CONNECTION_WINDOW_BYTES // MIB} MiB"
    ),
    "frame and header block over HTTP/2": (
        f"{MAX_FRAME_BYTES // KIB} KiB; {MAX_BLOCK_BYTES // KIB} KiB in {MAX_BLOCK_FRAMES} frames"
    ),
    "streams over HTTP/2 that are reset or malformed": (
        f"{MAX_RESETS}, and {RESETS_PER_S} a second; an answer makes up for one"
    ),
    "frames over HTTP/2 that carry nothing": f"{MAX_IDLE_FRAMES:,}, and {IDLE_FRAMES_PER_S} a second",
    "a client that takes nothing of an answer": f"{STALL_S / 3600:g} hour",
    "appends under way": (
        f"{SqliteStore.max_pending_bytes // MIB} MiB a stream, {BucketStore.max_pending_bytes // MIB} MiB on the way "
        f"to a bucket, {MAX_PENDING_BYTES_CROWDED // KIB} KiB while small appends go beside a bulk load, "
        f"{MAX_PENDING_BYTES_TOTAL // MIB} MiB in all"
    ),
    "remembered answers (section 16.5)": f"{MAX_REPLY_AGE_MS // 60_000} minutes, {MAX_REPLIES:,}",
}


def test_the_limits():
    said = {row[0]: row[1] for part in range(1, 5) for row in table(f"14.{part}")}
    assert said | LIMITS == said
