"""Bodies in a content coding, in both directions, and what hostile ones cost (protocol section 10)."""

import gzip
import json
import zlib

import pytest
import zstandard

MIB = 1 << 20
PATH = "/v1/streams/stream/records"
DECODERS = {"gzip": gzip.decompress, "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)}


@pytest.fixture
def stream(shared_server, basin):
    shared_server.create_stream(basin)
    records = [{"body": f"record {number}"} for number in range(100)]
    assert shared_server.request("POST", PATH, json_body={"records": records}, basin=basin).status == 200


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, zstd;q=0.1", "zstd"),
        ("gzip;q=0.5, deflate, br", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("gzip;q=0", None),
        ("br", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "application/protobuf"])
def test_long_answers_are_compressed_as_the_client_accepts(shared_server, basin, stream, accepted, coding, accept):
    plain = shared_server.request("GET", f"{PATH}?seq_num=0", headers={"accept": accept}, basin=basin)
    assert "content-encoding" not in plain.headers
    headers = {"accept": accept, "accept-encoding": accepted}
    answer = shared_server.request("GET", f"{PATH}?seq_num=0", headers=headers, basin=basin)
    assert answer.status == 200
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["content-type"] == accept
    if coding is None:
        assert answer.body == plain.body
    else:
        assert len(answer.body) < len(plain.body)
        assert DECODERS[coding](answer.body) == plain.body


def test_short_answers_stay_as_they_are(shared_server, basin, stream):
    headers = {"accept-encoding": "zstd, gzip"}
    for path in (f"{PATH}?seq_num=0&count=10", f"{PATH}/tail", f"{PATH}?seq_num=x"):
        assert "content-encoding" not in shared_server.request("GET", path, headers=headers, basin=basin).headers


def test_lists_are_compressed_too(shared_server, basin):
    for number in range(20):
        shared_server.create_stream(basin, f"stream-{number:02}")
    answer = shared_server.request("GET", "/v1/streams", headers={"accept-encoding": "gzip"}, basin=basin)
    assert len(json.loads(gzip.decompress(answer.body))["streams"]) == 20
    head = shared_server.request("HEAD", "/v1/streams", headers={"accept-encoding": "gzip"}, basin=basin)
    assert (head.headers["content-encoding"], head.body) == ("gzip", b"")


def test_a_large_answer_is_compressed_beside_the_loop(shared_server, basin):
    shared_server.create_stream(basin)
    body = {"records": [{"body": "x" * 900_000}]}
    assert shared_server.request("POST", PATH, json_body=body, basin=basin).status == 200
    answer = shared_server.request("GET", f"{PATH}?seq_num=0", headers={"accept-encoding": "gzip"}, basin=basin)
    assert json.loads(gzip.decompress(answer.body))["records"][0]["body"] == "x" * 900_000


# What hostile bodies cost


def zeros_as_zstd(size):
    """`size` zeros in a frame that does not name its size: some bytes a mebibyte."""
    blocks = size // (128 * 1024)
    # A magic number, a header without a size and a window of 128 KiB; RLE blocks of 128 KiB.
    head = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x38"
    block = lambda last: (last | 1 << 1 | (128 * 1024) << 3).to_bytes(3, "little") + b"\0"  # noqa: E731
    return head + block(0) * (blocks - 1) + block(1)


def nested_gzip(depth):
    data = bytes(64 * MIB)
    for _ in range(depth):
        data = gzip.compress(data)
    return data


def gzip_of_zeros(size):
    coder = zlib.compressobj(9, wbits=31)
    return b"".join(coder.compress(bytes(MIB)) for _ in range(size // MIB)) + coder.flush()


def peak_kib(server):
    with open(f"/proc/{server.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])


BOMBS = {
    "zstd to 64 GiB in 2 MiB": ("zstd", lambda: zeros_as_zstd(64 << 30)),
    "zstd with a window of 2 GiB": ("zstd", lambda: b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\0\0"),
    "zstd that claims 2^60 bytes": (
        "zstd",
        lambda: b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + b"\x01\0\0",
    ),
    "gzip to 1 GiB": ("gzip", lambda: gzip_of_zeros(1 << 30)),
    "gzip in gzip in gzip": ("gzip", lambda: nested_gzip(3)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_body_that_inflates_without_end_costs_little(server, name):
    coding, make = BOMBS[name]
    body = make()
    assert len(body) <= 2 * MIB + 64
    basin = server.create_basin()
    server.create_stream(basin)
    headers = {"content-encoding": coding, "content-type": "application/json"}
    # What any body of this size costs, and the first use of a decoder, is not the bomb's.
    for plain in (gzip.compress(b"{" * 1024), zstandard.compress(b"{" * 1024)):
        used = "gzip" if plain[:2] == b"\x1f\x8b" else "zstd"
        server.request("POST", PATH, body=plain, headers={**headers, "content-encoding": used}, basin=basin)
    before = peak_kib(server)
    for _ in range(3):
        answer = server.request("POST", PATH, body=body[: 2 * MIB], headers=headers, basin=basin)
        assert (answer.status, answer.json()["code"]) == (400, "bad_json")
    assert peak_kib(server) - before < 10 * 1024
    assert server.request("GET", f"{PATH}/tail", basin=basin).json()["tail"]["seq_num"] == 0
