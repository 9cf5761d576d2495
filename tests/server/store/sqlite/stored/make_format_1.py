"""Makes `format_1.tar.xz`: a data directory of format 1, as the last code that wrote it (commit 9535052) left it.

Run with that code, never with a newer one:

    git worktree add /tmp/before 9535052 && cd /tmp/before && python3.11 -m venv .venv && .venv/bin/pip install .
    .venv/bin/python PATH/make_format_1.py PATH/format_1.tar.xz

The archive holds `data/` and `expected.json`: what the server answered, and the secrets it takes. A first server stops
in good order; a second one is killed with what it wrote still in the write-ahead log. Two deletions in progress and a
trim whose chunks are left are then marked in the database by hand, since a deletion ends too soon to be caught.
"""

import base64
import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT_TOKEN = "root-of-the-fixture"
KEYS = {"aegis-256": base64.b64encode(bytes(range(32))).decode(), "aes-256-gcm": base64.b64encode(b"k" * 32).decode()}
FOR_EVER = {"retention_policy": {"infinite": {}}}


class Server:
    """`s2 lite` on a data directory, with a root token."""

    def __init__(self, data, token_file):
        command = [
            sys.executable,
            "-P",
            "-m",
            "s2cli.commands.lite",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--data",
            data,
        ]
        command += ["--root-token-file", token_file]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().rpartition(b":")[2])

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait()

    def ask(self, method, path, body=None, basin=None, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names.setdefault("authorization", f"Bearer {ROOT_TOKEN}")
        if basin is not None:
            names["s2-basin"] = basin
        if body is not None:
            names.setdefault("content-type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body=body, headers=names)
            response = connection.getresponse()
            data = response.read()
        assert response.status < 300, (method, path, response.status, data)
        return data

    def create(self, basin, stream, **config):
        self.ask("POST", "/v1/streams", {"stream": stream, "config": config}, basin)

    def append(self, basin, stream, *records, **headers):
        """Each record is a body, or (body, headers), or (body, headers, timestamp), as bytes."""
        path = f"/v1/streams/{stream}/records"
        body = {"records": [encode(record) for record in records]}
        return self.ask("POST", path, body, basin, s2_format="base64", **headers)

    def read(self, basin, stream, **headers):
        found = []
        tail = json.loads(self.ask("GET", f"/v1/streams/{stream}/records/tail", basin=basin))["tail"]
        while not found or found[-1]["seq_num"] + 1 < tail["seq_num"]:
            at = found[-1]["seq_num"] + 1 if found else 0
            path = f"/v1/streams/{stream}/records?seq_num={at}&clamp=true&wait=0"
            try:
                page = json.loads(self.ask("GET", path, basin=basin, s2_format="base64", **headers))["records"]
            except AssertionError as error:
                if " 416," not in str(error) and ", 416," not in str(error):
                    raise
                page = []
            if not page:
                break
            found += page
        return {"records": found, "tail": tail}


def encode(record):
    body, headers, timestamp = (*record, None)[:3] if isinstance(record, tuple) else (record, [], None)
    made = {"body": base64.b64encode(body).decode()}
    if headers:
        made["headers"] = [[base64.b64encode(part).decode() for part in header] for header in headers]
    if timestamp is not None:
        made["timestamp"] = timestamp
    return made


def command(name, body):
    return body, [(b"", name)]


def first_server(server, expected):
    generator = random.Random(17)
    server.ask("POST", "/v1/basins", {"basin": "plain-basin", "config": {"default_stream_config": FOR_EVER}})
    server.ask("POST", "/v1/basins", {"basin": "leaving-basin", "config": {"default_stream_config": FOR_EVER}})
    # Ids 1 and up: the second one is free again before the others come.
    server.create("plain-basin", "first")
    server.create("plain-basin", "short-lived")
    server.append("plain-basin", "short-lived", b"gone with its stream")
    server.ask("DELETE", "/v1/streams/short-lived", basin="plain-basin")
    while b"short-lived" in server.ask("GET", "/v1/streams", basin="plain-basin"):
        time.sleep(0.05)
    for name in "reused", "text", "binary", "json", "commands", "leaving", "half-trimmed", "kept-longer":
        server.create("plain-basin", name)
    server.create("plain-basin", "timestamps", timestamping={"mode": "client-require", "uncapped": True})
    server.create("plain-basin", "expired", retention_policy={"age": 1})
    server.create("plain-basin", "never-empty", delete_on_empty={"min_age_secs": 3600 * 24 * 365 * 100})
    server.create("leaving-basin", "leaving")
    server.append("plain-basin", "first", b"one")
    server.append("plain-basin", "reused", b"in the place of another")
    for number in range(3):
        server.append("plain-basin", "text", *[b"line %d of %d" % (line, number) for line in range(20)])
    server.append("plain-basin", "text", ("ünïcode".encode(), [(b"name", b"value"), (b"empty", b"")]), b"")
    for size in (0, 1, 255, 3000):
        binary = generator.randbytes(size)
        server.append("plain-basin", "binary", binary, (binary, [(binary[:20] or b"n", binary[:9])]))
    server.append("plain-basin", "json", json.dumps({"deep": [1, 2.5, None, {"text": "ü"}]}).encode())
    server.append("plain-basin", "commands", b"trimmed", b"trimmed too", b"kept", b"kept too")
    server.append(
        "plain-basin", "commands", command(b"fence", b"the-fence"), b"between", command(b"trim", bytes(7) + b"\2")
    )
    server.append("plain-basin", "half-trimmed", *[b"0123456789"] * 5)
    server.append("plain-basin", "half-trimmed", b"kept")
    server.append("plain-basin", "kept-longer", b"for ever")
    server.append("plain-basin", "timestamps", (b"early", [], 5), (b"late", [], 2**63 + 5), (b"latest", [], 2**64 - 1))
    server.append("plain-basin", "expired", b"for a second", b"as long")
    server.append("plain-basin", "leaving", b"being deleted")
    server.append("leaving-basin", "leaving", b"being deleted with its basin")
    for cipher, key in KEYS.items():
        basin = f"{cipher}-basin"
        config = {"stream_cipher": cipher, "default_stream_config": FOR_EVER}
        server.ask("POST", "/v1/basins", {"basin": basin, "config": config})
        server.create(basin, "secret")
        server.append(basin, "secret", b"secret one", (b"secret two", [(b"name", b"value")]), s2_encryption_key=key)
        mixed = b"secret three", command(b"fence", b"sealed"), b"secret four"
        server.append(basin, "secret", *mixed, s2_encryption_key=key)
        server.append(basin, "secret", command(b"trim", bytes(7) + b"\1"), s2_encryption_key=key)
    scope = {"basins": {"prefix": ""}, "streams": {"prefix": ""}, "access_tokens": {"prefix": ""}, "ops": ["read"]}
    for token_id, members in ("for-ever", {}), ("until-2100", {"expires_at": "2100-01-01T00:00:00Z"}):
        answer = server.ask("POST", "/v1/access-tokens", {"id": token_id, "scope": scope, **members})
        expected["tokens"][token_id] = json.loads(answer)["access_token"]


MARK = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint=0")
mark = "UPDATE {} SET deleted_at=created_at + 1 WHERE name=CAST(? AS BLOB)"
connection.execute(mark.format("stream") + " AND basin=CAST('plain-basin' AS BLOB)", ("leaving",))
connection.execute(mark.format("basin"), ("leaving-basin",))
connection.execute("UPDATE stream SET trim_point=5 WHERE name=CAST('half-trimmed' AS BLOB)")
os.kill(os.getpid(), signal.SIGKILL)  # closing it would empty the log
"""


def mark(data, expected):
    subprocess.run([sys.executable, "-c", MARK, data / "s2.db"], check=False)
    expected["leaving"] = [["plain-basin", "leaving"], ["leaving-basin", "leaving"]]
    for stream in expected["streams"]:
        if stream["stream"] == "half-trimmed":
            stream["records"] = [record for record in stream["records"] if record["seq_num"] >= 5]
    expected["streams"] = [stream for stream in expected["streams"] if stream["stream"] != "leaving"]


def second_server(server, expected):
    config = {"retention_policy": {"age": 3600 * 24 * 365 * 100}}
    server.ask("PATCH", "/v1/streams/kept-longer", config, "plain-basin")
    server.append("plain-basin", "kept-longer", b"for a century")
    server.append("plain-basin", "text", *[b"not checkpointed %d" % line for line in range(20)])
    for basin, name, key in (
        ("plain-basin", "text", None),
        *[(f"{cipher}-basin", "secret", KEYS[cipher]) for cipher in KEYS],
    ):
        headers = {"s2_request_token": f"once-{basin}"} | ({} if key is None else {"s2_encryption_key": key})
        answer = server.append(basin, name, b"executed once", **headers)
        expected["once"].append({"basin": basin, "stream": name, "headers": headers, "answer": answer.decode()})


def read_all(server, expected):
    for basin in "plain-basin", *[f"{cipher}-basin" for cipher in KEYS]:
        listed = json.loads(server.ask("GET", "/v1/streams", basin=basin))["streams"]
        for info in listed:
            key = KEYS.get(info["cipher"])
            headers = {} if key is None else {"s2_encryption_key": key}
            if info["deleted_at"] is None:
                found = server.read(basin, info["name"], **headers)
                expected["streams"].append({"basin": basin, "stream": info["name"], "key": key, **found})


def main(archive):
    with tempfile.TemporaryDirectory() as place:
        data, token_file = Path(place) / "data", Path(place) / "root.token"
        token_file.touch(mode=0o600)
        token_file.write_text(ROOT_TOKEN)
        expected = {"root_token": ROOT_TOKEN, "tokens": {}, "once": [], "streams": []}
        server = Server(data, token_file)
        first_server(server, expected)
        server.end(signal.SIGTERM)
        server = Server(data, token_file)
        second_server(server, expected)
        time.sleep(1.1)  # what expires has expired
        read_all(server, expected)
        server.end(signal.SIGKILL)
        mark(data, expected)
        expected["written_at_ms"] = time.time_ns() // 10**6
        assert (data / "s2.db-wal").stat().st_size > 0
        for name in "ballast", "LOCK", "s2.db-shm":
            (data / name).unlink()
        (Path(place) / "expected.json").write_text(json.dumps(expected, indent=1))
        with tarfile.open(archive, "w:xz") as file:
            file.add(data, "data")
            file.add(Path(place) / "expected.json", "expected.json")
    print(f"{os.path.getsize(archive)} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
