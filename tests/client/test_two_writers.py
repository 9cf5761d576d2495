"""Two writers at once: the account of each says which sequence numbers are its own."""

import json
import os
import subprocess
import sys

import pytest
from support.waiting import until


class Writer:
    """An append whose lines are written one by one, each once the one before is in the stream."""

    def __init__(self, uri, env, *options):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "s2cli", "append", uri, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
        )

    def write(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def finish(self):
        output = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return output


@pytest.fixture
def write_in_turns(shared_server, basin):
    """Lets writers write, as the letters say; their outputs."""
    shared_server.create_stream(basin)
    uri = f"s2://{basin}/stream"

    def tail():
        return shared_server.request("GET", "/v1/streams/stream/records/tail", basin=basin).json()["tail"]["seq_num"]

    def write(turns, options):
        writers = {name: Writer(uri, shared_server.env(), *options[name]) for name in options}
        for count, name in enumerate(turns, 1):
            writers[name].write(b"%s\n" % name.encode())
            until(lambda count=count: tail() == count)
        return {name: writer.finish() for name, writer in writers.items()}

    return write


def test_the_ranges_are_those_that_each_has_written(write_in_turns):
    outputs = write_in_turns("aabbbabaa", {"a": ["-o", "json"], "b": []})
    account = json.loads(outputs["a"][0])
    assert account["ranges"] == [[0, 1], [5, 5], [7, 8]]
    assert (account["durable"], account["first_seq_num"], account["last_seq_num"]) == (5, 0, 8)
    assert "more_ranges" not in account
    assert b": 4 records durable at 2..6 in 2 ranges (" in outputs["b"][1]


def test_one_writer_has_one_range(write_in_turns):
    outputs = write_in_turns("aaa", {"a": ["-o", "json"]})
    assert json.loads(outputs["a"][0])["ranges"] == [[0, 2]]
