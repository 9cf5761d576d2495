"""A page in headless Chromium follows a stream with EventSource, from another origin, through restarts."""

import http.server
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from support.waiting import TIMEOUT_S

PAGE = (Path(__file__).parent / "page.html").read_bytes()


class Page:
    """Serves the page on an origin of its own, and hears what it says."""

    def __init__(self):
        page = self
        self.said = {"what": "", "next": 0, "records": []}
        self.heard = threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self._answer(PAGE)

            def do_POST(self):
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with page.heard:
                    # What was said earlier may come later.
                    if len(said["records"]) >= len(page.said["records"]):
                        page.said = said
                    page.heard.notify_all()
                self._answer(b"")

            def _answer(self, body):
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://localhost:{self._server.server_address[1]}/"

    def wait_for(self, count):
        """Until the page has so many records; these."""
        with self.heard:
            there = self.heard.wait_for(lambda: len(self.said["records"]) >= 2 * count, TIMEOUT_S)
        assert there, self.said
        flat = self.said["records"]
        return list(zip(flat[::2], flat[1::2], strict=True))

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def page():
    page = Page()
    yield page
    page.close()


@pytest.fixture
def browse(tmp_path):
    """Opens a page in a browser that is gone after the test."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert binary is not None, "Chromium is not installed"
    browsers = []

    def browse(url):
        command = [
            binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            f"--user-data-dir={tmp_path / 'chromium'}", "--remote-debugging-port=0", url,
        ]  # fmt: skip
        environ = {**os.environ, "HOME": str(tmp_path)}
        with open(tmp_path / "chromium.log", "wb") as log:
            browsers.append(subprocess.Popen(command, stdout=log, stderr=log, env=environ, start_new_session=True))

    yield browse
    for browser in browsers:
        browser.terminate()
        try:
            browser.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait(TIMEOUT_S)


def append(server, basin, *bodies):
    answer = server.request(
        "POST",
        "/v1/streams/stream/records",
        json_body={"records": [{"body": body} for body in bodies]},
        basin=basin,
    )
    assert answer.status == 200, answer


def test_a_page_follows_a_stream_through_restarts(server, page, browse):
    basin = server.create_basin()
    server.create_stream(basin)
    append(server, basin, *map(str, range(1000)))
    append(server, basin, *map(str, range(1000, 1500)))
    browse(f"{page.url}?server={server.url}&basin={basin}&stream=stream")
    page.wait_for(1500)
    append(server, basin, "1500")
    page.wait_for(1501)
    # An orderly end, and one that is none; each with records that come while the page is on its way back.
    server.stop()
    server.start()
    append(server, basin, *map(str, range(1501, 1600)))
    page.wait_for(1600)
    server.kill()
    server.start()
    append(server, basin, *map(str, range(1600, 2500)))
    page.wait_for(2500)
    append(server, basin, "2500")
    records = page.wait_for(2501)
    assert records == [(number, str(number)) for number in range(2501)]
