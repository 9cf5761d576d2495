"""`s2 lite --bucket` as a person types it: servers on one bucket, each with a home of its own, as on a machine of its
own."""

import asyncio
import contextlib
import itertools
import json
import shlex
import signal
import sys
import time

import obstore
import pytest
import s2_sdk
from faults.engines import Server
from support.s3_faults import NO_BUCKET, SILENT, Rule
from support.s3_proxy import S3Proxy
from support.s3_server import BUCKET, connect, environment
from support.waiting import TIMEOUT_S, until

DAY_MS = 24 * 3600 * 1000
BASIN = "bucket-basin"
URI = f"s2://{BASIN}/lines"
LINES = b"".join(b"line %d\n" % number for number in range(5000))


@pytest.fixture
def url(tmp_path):
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def aws(s3_server):
    """What a person exports. The address alone says that it is http."""
    given = environment(s3_server.url)
    return {name: given[name] for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


@pytest.fixture
def start_node(url, aws, tmp_path):
    """Starts a server with these options, on a machine of its own unless another `machine` is given."""
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:

        def start(*options, machine=None):
            number = next(numbers)
            machine = machine or tmp_path / f"machine-{number}"
            machine.mkdir(exist_ok=True)
            words = [sys.executable, "-P", "-m", "s2cli", "lite", "--bucket", url, "--port", "{port}", *options]
            env = aws | {"HOME": str(machine)}
            node = Server(shlex.join(map(str, words)), tmp_path / f"node-{number}", env)
            stack.enter_context(contextlib.closing(node)).start()
            return node

        yield start


@pytest.fixture
def at(endpoint_at):
    """What leads a command line to a server, with that token."""

    def env(node, token="ignored"):
        return endpoint_at(node.port).env() | {"S2_ACCESS_TOKEN": token}

    return env


@pytest.fixture
def lite(run_s2, url, aws, tmp_path):
    """Runs `s2 lite` with these words on the bucket, and on a machine."""

    def run(*words, machine=tmp_path / "machine-0", code=0):
        done = run_s2("lite", *words, "--bucket", url, env=aws | {"HOME": str(machine)})
        assert done.returncode == code, done
        return done

    return run


def test_what_a_server_has_acknowledged_is_there_on_another_machine(start_node, at, run_s2, url, tmp_path):
    first = start_node()
    run_s2("create", f"s2://{BASIN}", env=at(first), check=True)
    run_s2("append", "--create", URI, env=at(first), stdin=LINES, check=True)
    first.kill()
    second = start_node()
    assert run_s2("read", URI, env=at(second), check=True).stdout == LINES
    run_s2("append", URI, env=at(second), stdin=LINES, check=True)
    assert second.stop() == 0
    assert second.words().endswith(f"serving {url} at http://127.0.0.1:{second.port}; Ctrl-C ends it\n" + ended(url))
    third = start_node()
    assert run_s2("read", URI, env=at(third), check=True).stdout == LINES + LINES
    # On the machines is nothing that is needed again.
    for machine in "machine-0", "machine-1":
        left = {path.name for path in (tmp_path / machine).rglob("*") if path.is_file()}
        assert left <= {"LOCK"}, left


def ended(url):
    return f"ended; everything acknowledged is in {url}\n"


def test_a_token_that_one_server_has_issued_is_accepted_by_the_others(start_node, at, run_s2, tmp_path):
    root_file = tmp_path / "root.token"
    root_file.touch(mode=0o600)
    root_file.write_text("the-root-token\n")
    first, second = (start_node("--root-token-file", root_file) for _ in range(2))
    assert b"401" not in run_s2("list", env=at(first, "the-root-token"), check=True).stderr
    issued = run_s2("tokens", "issue", "reader", "--ops", "list-basins", env=at(first, "the-root-token"), check=True)
    token = issued.stdout.decode().strip()
    first.kill()
    assert run_s2("basins", "list", env=at(second, token)).returncode == 0
    third = start_node("--root-token-file", root_file)
    assert run_s2("basins", "list", env=at(third, token)).returncode == 0
    assert run_s2("basins", "list", env=at(third, token + "x")).returncode == 4
    assert run_s2("basins", "list", env=at(third, "the-root-token")).returncode == 0


def test_health_names_the_bucket_where_no_token_is_needed(start_node, endpoint_at, url, tmp_path):
    root_file = tmp_path / "root.token"
    root_file.touch(mode=0o600)
    root_file.write_text("the-root-token\n")
    as_json = {"accept": "application/json"}
    for options, named in (((), url), (("--root-token-file", root_file), None)):
        node = start_node(*options)
        assert endpoint_at(node.port).request("GET", "/health", headers=as_json).json().get("bucket") == named


def test_the_servers_of_a_machine_are_shown_and_stopped(start_node, lite, url, tmp_path):
    assert b"no server" in lite("status", code=3).stderr
    first = start_node()
    second = start_node(machine=tmp_path / "machine-0")
    start_node()  # elsewhere
    shown = lite("status").stdout.decode()
    assert shown.count(f"bucket      {url}\n") == 2
    facts = [json.loads(line) for line in lite("status", "-o", "json").stdout.splitlines()]
    assert {fact["pid"] for fact in facts} == {first.pid, second.pid}
    assert [(fact["bucket"], fact["data"], fact["status"]) for fact in facts] == [(url, None, "ok")] * 2
    assert lite("stop").stderr.count(b"stopped the server") == 2
    until(lambda: not first.is_running and not second.is_running)
    assert b"no server was running" in lite("stop").stderr


def test_the_time_of_the_last_use_is_kept_in_the_bucket(start_node, lite, s3_server, tmp_path):
    bucket = connect(s3_server.url)
    last_used = f"{tmp_path.name}/last-used"

    def last_used_ms():
        with contextlib.suppress(FileNotFoundError):
            return int(bytes(obstore.get(bucket, last_used).bytes()))

    first = start_node()
    until(lambda: last_used_ms() is not None)
    assert abs(last_used_ms() - time.time() * 1000) < DAY_MS
    first.kill()
    # Now the clock of the next one is far ahead of what it was.
    obstore.put(bucket, last_used, b"%d" % (last_used_ms() - 3 * DAY_MS))
    start_node(machine=tmp_path / "machine-0")
    facts = json.loads(lite("status", "-o", "json").stdout)
    assert facts["clock_ahead_ms"] > 2 * DAY_MS
    assert b"trusted" in lite("trust-clock").stderr
    assert json.loads(lite("status", "-o", "json").stdout)["clock_ahead_ms"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_go_of_the_basins(start_node, at, run_s2, url, number):
    first, second = start_node(), start_node()
    run_s2("create", f"s2://{BASIN}", env=at(first), check=True)
    run_s2("append", "--create", URI, env=at(first), stdin=LINES, check=True)
    first.send(number)
    until(lambda: not first.is_running)
    assert first.words().endswith(ended(url))
    assert run_s2("read", URI, env=at(second), check=True).stdout == LINES


def test_a_signal_while_the_bucket_does_not_answer(s3_server, start_node, at, run_s2, aws, url):
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        aws["AWS_ENDPOINT_URL"] = proxy.url
        first = start_node()
        run_s2("create", f"s2://{BASIN}", env=at(first), check=True)
        run_s2("append", "--create", URI, env=at(first), stdin=LINES, check=True)
        proxy.fail(Rule(SILENT))
        assert first.stop() == 0
        assert first.words().endswith(ended(url))
        proxy.fail()
        assert run_s2("read", URI, env=at(start_node()), check=True).stdout == LINES


def test_the_official_sdk(start_node, at):
    url = at(start_node())["S2_BASIN_ENDPOINT"]

    async def main():
        async with s2_sdk.S2("token", endpoints=s2_sdk.Endpoints(account=url, basin=url)) as client:
            await client.create_basin(BASIN)
            await client.basin(BASIN).create_stream("sdk")
            stream = client.basin(BASIN).stream("sdk")
            async with stream.append_session() as session:
                for number in range(20):
                    record = s2_sdk.Record(body=b"%d" % number)
                    ticket = await session.submit(s2_sdk.AppendInput(records=[record]))
                    assert (await ticket).end.seq_num == number + 1
            assert (await stream.check_tail()).seq_num == 20
            batch = await stream.read(start=s2_sdk.SeqNum(0))
            assert [record.body for record in batch.records] == [b"%d" % number for number in range(20)]

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))


def test_streams_are_copied_from_a_disk_to_a_bucket_and_back(start_node, at, server, run_s2, home):
    node = start_node()
    profiles = home / ".config/s2/profiles.toml"
    profiles.parent.mkdir(parents=True)
    profiles.write_text(
        "".join(
            f'[{name}]\naccount_endpoint = "{there}"\nbasin_endpoint = "{there}"\n'
            for name, there in (("disk", server.url), ("bucket", at(node)["S2_BASIN_ENDPOINT"]))
        )
    )
    records = b"".join(
        json.dumps({"body": f"record {number}", "headers": [["n", str(number)]], "timestamp": 1000 + number}).encode()
        + b"\n"
        for number in range(2000)
    )
    for profile in "disk", "bucket":
        run_s2("--profile", profile, "create", f"s2://{BASIN}", check=True)
    run_s2("--profile", "disk", "append", "--create", URI, "--format", "json", stdin=records, check=True)
    original = run_s2("--profile", "disk", "read", URI, "--format", "json", check=True).stdout
    assert original.count(b"\n") == 2000
    run_s2("copy", URI, URI, "--src-profile", "disk", "--dst-profile", "bucket", "--create", check=True)
    assert run_s2("--profile", "bucket", "read", URI, "--format", "json", check=True).stdout == original
    back = f"s2://{BASIN}/back"
    run_s2("copy", URI, back, "--src-profile", "bucket", "--dst-profile", "disk", "--create", check=True)
    assert run_s2("--profile", "disk", "read", back, "--format", "json", check=True).stdout == original


def test_a_bucket_is_checked_beside_its_server_and_damage_is_found(start_node, at, run_s2, lite, s3_server, tmp_path):
    node = start_node()
    run_s2("create", f"s2://{BASIN}", env=at(node), check=True)
    run_s2("append", "--create", URI, env=at(node), stdin=LINES, check=True)
    facts = json.loads(lite("check", "-o", "json").stdout)
    assert (facts["whole"], facts["problems"], facts["records"], facts["basins"]) == (True, [], 5000, 1)
    done = lite("check")
    assert done.stdout == b""
    assert b"nothing is wrong" in done.stderr
    run_s2("append", URI, env=at(node), stdin=LINES, check=True)  # the basin is still the server's
    assert node.stop() == 0
    put(s3_server, f"{tmp_path.name}/basins/{BASIN}", b"?")
    done = lite("check", code=8)
    assert f"basin {BASIN}\t-\tits object is damaged".encode() in done.stdout
    assert b"1 problems" in done.stderr


def put(s3_server, name, data):
    obstore.put(connect(s3_server.url), name, data)


def test_there_is_nothing_to_check_where_no_server_was(lite, url):
    assert f"no server has kept anything in {url}".encode() in lite("check", code=3).stderr


def test_what_a_newer_version_has_written_is_refused(start_node, lite, s3_server, tmp_path):
    assert start_node().stop() == 0
    put(s3_server, f"{tmp_path.name}/format", b'{"format":2}')
    for words in (), ("check",):
        done = lite(*words, *([] if words else ["--port", "0"]), code=1)
        assert b"was written by a newer version of s2: format 2, and this one knows 1" in done.stderr


def test_a_bucket_that_vanishes_is_not_taken_for_an_empty_one(s3_server, start_node, at, run_s2, aws, endpoint_at):
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        aws["AWS_ENDPOINT_URL"] = proxy.url
        node = start_node()
        run_s2("create", f"s2://{BASIN}", env=at(node), check=True)
        endpoint = endpoint_at(node.port)
        path = f"/v1/basins/{BASIN}"
        proxy.fail(Rule(NO_BUCKET))
        # What is known of a basin is believed for a moment.
        until(lambda: endpoint.request("GET", path).status != 200)
        assert endpoint.request("GET", path).status == 503
        proxy.fail()
        assert endpoint.request("GET", path).status == 200
