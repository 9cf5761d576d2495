"""Long lists come page by page: the first one is printed at once, and the memory does not grow with their number."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from support.waiting import TIMEOUT_S

BASIN = "long-basin"
FORMATS = ["table", "json", "jsonl", "name"]


class Pages:
    """Streams 000000, 000001, … up to `total`, in pages as they are asked for. The second and later ones wait until
    `go` is set."""

    def __init__(self, total: int) -> None:
        self.asked: list[tuple[str, int]] = []
        self.go = threading.Event()
        pages = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                after, limit = query.get("start_after", [""])[0], int(query["limit"][0])
                pages.asked.append((after, limit))
                if after:
                    assert pages.go.wait(TIMEOUT_S)
                first = int(after) + 1 if after else 0
                end = min(first + limit, total)
                facts = {"created_at": "2026-01-31T12:00:00.123Z", "deleted_at": None, "cipher": None}
                items = [{"name": f"{number:06}", **facts} for number in range(first, end)]
                body = json.dumps({"streams": items, "has_more": end < total}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.env = {**os.environ, "S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url, "S2_ACCESS_TOKEN": "x"}

    def close(self) -> None:
        self.go.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(TIMEOUT_S)


@pytest.fixture
def serve():
    servers = []

    def serve(total: int) -> Pages:
        servers.append(Pages(total))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def listing(pages: Pages, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "s2cli", "streams", "list", BASIN, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=pages.env)


@pytest.mark.parametrize("output", FORMATS)
def test_a_page_is_printed_before_the_next_one_is_there(serve, output):
    pages = serve(2500)
    with listing(pages, "-o", output) as process:
        said = b""
        while b"000999" not in said:
            piece = process.stdout.read1(65536)
            assert piece
            said += piece
        pages.go.set()
        said += process.stdout.read()
    assert process.returncode == 0
    assert pages.asked == [("", 1000), ("000999", 1000), ("001999", 1000)]
    names = [f"{number:06}" for number in range(2500)]
    lines = said.decode().splitlines()
    if output == "json":
        items = json.loads(said)
        assert said == json.dumps(items, indent=2).encode() + b"\n"
        assert [item["name"] for item in items] == names
    elif output == "jsonl":
        assert [json.loads(line)["name"] for line in lines] == names
    elif output == "name":
        assert lines == [f"s2://{BASIN}/{name}" for name in names]
    else:
        assert [line.partition("\t")[0] for line in lines] == ["NAME", *names]


def test_a_limit_ends_the_list_and_its_last_page_is_no_longer_than_that(serve):
    pages = serve(2500)
    pages.go.set()
    with listing(pages, "-o", "name", "--limit", "1500") as process:
        assert len(process.stdout.read().splitlines()) == 1500
    assert pages.asked == [("", 1000), ("000999", 500)]


def peak_kib(pages: Pages, output: str) -> int:
    pages.go.set()
    process = listing(pages, "-o", output)
    while process.stdout.read(1 << 20):
        pass
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)


@pytest.mark.parametrize("output", FORMATS)
def test_memory_does_not_grow_with_the_list(serve, output):
    few, many = (peak_kib(serve(total), output) for total in (2_000, 30_000))
    assert many < few + 4096
