"""An S3 server over HTTP for tests: SeaweedFS, as it is published, on free ports of 127.0.0.1. It honours
`If-None-Match` and `If-Match` of a put, which writers need to fence each other."""

import datetime
import os
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from support.ports import choose_port
from support.waiting import TIMEOUT_S

BUCKET = "streams"
ACCESS_KEY = "tests"
SECRET_KEY = "tests-secret"
REGION = "us-east-1"

INTERVAL_S = 0.02
INLINE_BYTES = 64 * 1024  # an object up to this size lies in the index of names, a larger one in a volume
PORTS = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
OPTIONS = (
    "-logtostderr server -filer -s3 -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.peers=none -master.telemetry=false"
    " -master.volumeSizeLimitMB=1024 -volume.max=0 -volume.preStopSeconds=0 -s3.port.iceberg=0 -s3.port.lance=0"
)


class S3Server:
    """Keeps its objects in the folder `data`, and its port over restarts."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._log = data.with_name(data.name + ".log")
        self._holders: list[socket.socket] = []
        self._process: subprocess.Popen[bytes] | None = None
        program = Path(sysconfig.get_path("scripts")) / "weed"
        self._words = [str(program), *OPTIONS.split(), f"-dir={data}", f"-filer.saveToFilerLimit={INLINE_BYTES}"]
        self._words += [f"-{part}.localSocket={data / part}.sock" for part in ("filer", "s3")]
        for name in PORTS:
            port, holder = choose_port()
            if holder is not None:
                self._holders.append(holder)
            self._words.append(f"-{name}={port}")
            if name == "s3.port":
                self.port = port
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server, and waits until it stores objects in `BUCKET`."""
        self._data.mkdir(parents=True, exist_ok=True)
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment(self.url)},
                cwd=self._data,
            )
        deadline_s = time.monotonic() + TIMEOUT_S
        while not self._stores():
            assert self._process.poll() is None, self.last_words()
            assert time.monotonic() < deadline_s, self.last_words()
            time.sleep(INTERVAL_S)

    def _stores(self) -> bool:
        """Whether it stores an object, in a volume too. The first one makes the bucket."""
        try:
            obstore.put(connect(self.url), "first", bytes(2 * INLINE_BYTES), use_multipart=False)
        except (BaseError, OSError):
            return False
        return True

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:].strip()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Ends the server at once. What it has stored is there after the next start."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        self.kill()
        for holder in self._holders:
            holder.close()


def environment(url: str) -> dict[str, str]:
    """The usual variables with which a program finds the server, or a proxy in front of it, at `url`."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ENDPOINT": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }


def connect(url: str, retries: int = 0, timeout_s: float = TIMEOUT_S) -> S3Store:
    """A client of `BUCKET` at `url`, which repeats a request that failed up to `retries` times."""
    return S3Store(
        BUCKET,
        endpoint=url,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        region=REGION,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": f"{timeout_s}s"},
        retry_config={"max_retries": retries, "retry_timeout": datetime.timedelta(seconds=TIMEOUT_S)},
    )
