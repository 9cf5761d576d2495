"""A copy of a stream by `read | append` loses nothing: any records, and by each example that is printed."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.cli import command_tree, typer_app
from s2cli.formats.input import open_input
from s2cli.formats.json_output import format_records
from s2cli.wire.s2_pb2 import AppendInput, ReadBatch

ROOT = Path(__file__).parents[2]
TIMESTAMPS = st.integers(0, (1 << 64) - 1)
BYTES = st.one_of(st.binary(max_size=30), st.text(max_size=20).map(str.encode))
HEADERS = st.lists(st.tuples(BYTES.filter(len), BYTES), max_size=3)


@given(
    st.lists(st.tuples(TIMESTAMPS, HEADERS, BYTES), max_size=8),
    st.booleans(),
    st.sampled_from(["\n", "\0"]),
    st.integers(1, 50),
)
def test_any_records_come_back_from_json_as_they_were(records, base64, separator, piece_bytes):
    batch = ReadBatch()
    for seq_num, (timestamp, headers, body) in enumerate(records):
        record = batch.records.add(seq_num=seq_num, timestamp=timestamp, body=body)
        for name, value in headers:
            record.headers.add(name=name, value=value)
    lines = format_records(batch.records, separator, base64=base64)
    source = open_input("json-base64" if base64 else "json", separator.encode(), [], skip_commands=True)
    batches = [ready for at in range(0, len(lines), piece_bytes) for ready in source.feed(lines[at : at + piece_bytes])]
    batches += source.finish()
    if source.has_rest:
        batches.append(source.take_rest())
    found = [record for ready in batches for record in AppendInput.FromString(b"".join(ready.parts)).records]
    assert source.error is None
    assert [
        (record.timestamp, [(header.name, header.value) for header in record.headers], record.body) for record in found
    ] == records


def examples() -> list[str]:
    """Every line of README and help that copies a stream."""
    pages = [(ROOT / "README.md").read_text()]
    pages += [typer_app.build_command(name).help or "" for name in command_tree.COMMANDS]
    lines = itertools.chain.from_iterable(page.splitlines() for page in pages)
    return sorted({line.strip() for line in lines if re.search(r"s2 read .*\| *s2 append", line)})


def test_there_are_examples():
    assert len(examples()) >= 2


@pytest.mark.parametrize("example", examples())
def test_an_example_copies_every_record(example, run_s2, shared_server):
    basins = sorted(set(re.findall(r"s2://([a-z0-9-]+)/", example)))
    for basin in basins:
        own = shared_server.create_basin(create_stream_on_append=True)
        example = example.replace(f"s2://{basin}/", f"s2://{own}/")
    source, copy = re.findall(r"s2://\S+", example)
    env = shared_server.env()
    lines = [
        {"timestamp": 1000, "body": "plain"},
        {"timestamp": 1000, "headers": [["n", "v"], ["n", ""]], "body": "text\n\r\0\x7f\u202e\u2028 ü"},
        {"timestamp": 1001, "base64": True, "headers": [["/w==", "/w=="]], "body": "/wA="},
        {"timestamp": 1002, "base64": True, "headers": [["bg==", "7aCA"]]},
        {"timestamp": 1003},
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    run_s2("append", source, "--format", "json", stdin=b'{"body":"gone"}\n' + data, env=env, check=True)
    run_s2("trim", source, "1", env=env, check=True)
    run_s2("fence", source, "mine", env=env, check=True)
    run_s2("append", source, "--format", "json", stdin=b'{"timestamp":1004,"body":"last"}\n', env=env, check=True)
    script = example.replace("s2 read", f"{sys.executable} -m s2cli read").replace(
        "s2 append", f"{sys.executable} -m s2cli append"
    )
    done = subprocess.run(["sh", "-c", script], env={**os.environ, **env}, capture_output=True, timeout=60)
    assert done.returncode == 0, done
    assert b"6 records durable at 0..5 (" in done.stderr
    assert b"skipped 2 command records" in done.stderr
    assert records_of(run_s2, copy, env) == records_of(run_s2, source, env)


def records_of(run_s2, uri, env):
    """All but the command records, without their place in the stream."""
    printed = run_s2("read", uri, "-o", "json-base64", env=env, check=True).stdout
    records = [json.loads(line) for line in printed.splitlines()]
    for record in records:
        del record["seq_num"]
    return [record for record in records if record.get("headers", [["x"]])[0][0] != ""]
