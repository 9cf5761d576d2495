"""Servers on a bucket of an S3 server, each in a process of its own that may be killed."""

import os
import subprocess
import sys

from support.s3_server import BUCKET, environment
from support.waiting import TIMEOUT_S, until_readable


class Node:
    """`s2 lite` on what is below `prefix` of the bucket at `url`."""

    def __init__(self, url, prefix):
        place = f"s3://{BUCKET}/{prefix.rstrip('/')}"
        words = [sys.executable, "-P", "-m", "s2cli", "lite", "--bucket", place, "--port", "0"]
        self._process = subprocess.Popen(
            words, stdout=subprocess.PIPE, bufsize=0, env={**os.environ, **environment(url)}, stderr=subprocess.DEVNULL
        )
        until_readable(self._process.stdout)
        self.port = int(self._process.stdout.read(4096).split(b"\n")[0].rpartition(b":")[2])

    def kill(self):
        """kill -9."""
        self._process.kill()
        self._process.wait(TIMEOUT_S)
        self._process.stdout.close()

    close = kill
