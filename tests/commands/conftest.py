"""A shell in which `s2` is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import TIMEOUT_S


@pytest.fixture
def there(shared_server, unique_basin, home):
    """The environment of that shell; $B is a basin that makes its streams."""
    basin = unique_basin()
    shared_server.create_basin(basin, create_stream_on_append=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, **shared_server.env(), "PATH": path, "B": f"s2://{basin}", "HOME": str(home)}


@pytest.fixture
def sh(there, tmp_path):
    """Runs a script: what it wrote on stdout and on stderr."""

    def run(script, *, code=0, stdin=b"", env=there):
        done = subprocess.run(
            ["bash", "-c", script], env=env, cwd=tmp_path, input=stdin, capture_output=True, timeout=TIMEOUT_S
        )
        assert done.returncode == code, done
        return done.stdout, done.stderr.decode()

    return run


@pytest.fixture
def start_command(there, tmp_path):
    """Starts `s2` with words in which $B is known; it is gone after the test."""
    running = []

    def start(*words, env=there, stdin=None):
        words = ["s2", *(str(word).replace("$B", env["B"]) for word in words)]
        running.append(
            subprocess.Popen(
                words, env=env, cwd=tmp_path, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()
