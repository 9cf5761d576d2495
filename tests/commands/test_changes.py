"""Ensure, reconfigure, and writes whose answer is lost, against a real server."""

import json
import os

import pytest
from support.lossy_front import LossyFront

from s2cli.cli.args import BASIN_MEMBERS, STREAM_MEMBERS, StreamConfigArgs
from s2cli.cli.resource_args import EnsureBasinArgs, EnsureStreamArgs
from s2cli.client.stream_client import StreamClient
from s2cli.commands.connect import stream_config_header
from s2cli.commands.resource_options import basin_patch, stream_patch
from s2cli.endpoints import Target


@pytest.fixture
def front(shared_server):
    front = LossyFront(shared_server)
    yield front
    front.close()


def config_of(server, basin, stream=None):
    if stream is None:
        return server.request("GET", f"/v1/basins/{basin}").json()
    return server.request("GET", f"/v1/streams/{stream}", basin=basin).json()


# Ensure


def test_ensure_creates_what_is_missing_with_the_members_given(s2, shared_server, unique_basin):
    basin = unique_basin()
    done = s2("ensure", f"s2://{basin}", "--create-stream-on-append", "--retention-policy", "3d", "--location", "local")
    assert (done.stdout, done.stderr) == (b"", f"created basin {basin}\n".encode())
    config = config_of(shared_server, basin)
    assert config["create_stream_on_append"] is True
    assert config["default_stream_config"]["retention_policy"] == {"age": 3 * 86400}
    done = s2("streams", "ensure", f"s2://{basin}/s", "--timestamping-mode", "arrival")
    assert done.stderr == f"created stream s2://{basin}/s\n".encode()
    config = config_of(shared_server, basin, "s")
    assert (config["timestamping"]["mode"], config["retention_policy"]) == ("arrival", {"age": 3 * 86400})


def test_ensure_of_a_stream_makes_its_basin_too(s2, shared_server, unique_basin):
    basin = unique_basin()
    done = s2("ensure", f"s2://{basin}/s", "--storage-class", "standard")
    assert done.stderr.decode().splitlines() == [f"created basin {basin}", f"created stream s2://{basin}/s"]
    assert config_of(shared_server, basin)["default_stream_config"] is None
    assert config_of(shared_server, basin, "s")["storage_class"] == "standard"


def test_ensure_changes_the_members_given_and_no_others(s2, shared_server, basin):
    shared_server.create_stream(basin, "s", retention_policy={"age": 5}, timestamping={"mode": "arrival"})
    before = config_of(shared_server, basin, "s")
    for arguments in ((), ("--retention-policy", "5s"), ("--timestamping-mode", "arrival")):
        done = s2("ensure", f"s2://{basin}/s", *arguments)
        assert done.stderr == f"nothing to do for stream s2://{basin}/s\n".encode()
        assert config_of(shared_server, basin, "s") == before
    done = s2("ensure", f"s2://{basin}/s", "--timestamping-uncapped", "true")
    assert done.stderr == f"changed stream s2://{basin}/s\n".encode()
    assert config_of(shared_server, basin, "s") == before | {"timestamping": {"mode": "arrival", "uncapped": True}}
    s2("ensure", f"s2://{basin}/s", "--unset", "timestamping-mode", "--storage-class", "standard")
    assert config_of(shared_server, basin, "s") == before | {
        "timestamping": {"mode": "client-prefer", "uncapped": True},
        "storage_class": "standard",
    }


def test_ensure_of_a_basin_changes_the_members_given_and_no_others(s2, shared_server, unique_basin):
    basin = shared_server.create_basin(
        unique_basin(), create_stream_on_read=True, default_stream_config={"storage_class": "standard"}
    )
    before = config_of(shared_server, basin)
    for arguments in ((), ("--create-stream-on-read",), ("--location", "local")):
        assert s2("basins", "ensure", basin, *arguments).stderr == f"nothing to do for basin {basin}\n".encode()
        assert config_of(shared_server, basin) == before
    s2("basins", "ensure", basin, "--create-stream-on-append", "--no-create-stream-on-read", "--retention-policy", "9s")
    config = config_of(shared_server, basin)
    assert (config["create_stream_on_append"], config["create_stream_on_read"]) == (True, False)
    assert config["default_stream_config"]["storage_class"] == "standard"
    assert config["default_stream_config"]["retention_policy"] == {"age": 9}


def test_ensure_prints_what_it_did_where_it_is_asked_to(s2, basin):
    uri = f"s2://{basin}/s"
    for arguments, result in ((), "created"), ((), "noop"), (("--retention-policy", "7s"), "updated"):
        printed = json.loads(s2("ensure", uri, *arguments, "-o", "json", "-q").stdout)
        assert (printed["name"], printed["result"]) == (uri, result)
        assert printed["config"]["storage_class"] == "express"
    rows = s2("ensure", uri, "-o", "table").stdout.decode().splitlines()
    assert rows[:2] == ["SETTING\tVALUE", "result\tnoop"]
    assert "retention_policy\t7s" in rows
    assert s2("ensure", uri, "-o", "name").stdout == f"{uri}\n".encode()
    assert json.loads(s2("basins", "ensure", basin, "-o", "jsonl").stdout)["name"] == basin


def test_ensure_does_not_take_what_is_being_deleted_for_there(s2, shared_server, basin):
    """The configuration of such a basin can still be read."""

    class Deleting(LossyFront):
        def ask(self, server, method, path, headers, body):
            if method == "POST":
                answer = {"code": "basin_deletion_pending", "message": "basin is being deleted"}
                return 409, [("content-type", "application/json")], json.dumps(answer).encode()
            return super().ask(server, method, path, headers, body)

    front = Deleting(shared_server)
    try:
        done = s2("ensure", basin, at=front, code=5)
    finally:
        front.close()
    assert b"basin is being deleted" in done.stderr


# Reconfigure


def test_reconfigure_changes_and_unsets(s2, shared_server, basin):
    shared_server.create_stream(basin, "s", retention_policy={"age": 5}, delete_on_empty={"min_age_secs": 60})
    uri = f"s2://{basin}/s"
    done = s2("streams", "reconfigure", uri, "--unset", "retention-policy", "--storage-class", "standard")
    assert (done.stdout, done.stderr) == (b"", f"reconfigured stream {uri}\n".encode())
    config = config_of(shared_server, basin, "s")
    assert config["retention_policy"] == {"age": 604_800}
    assert config["delete_on_empty"] == {"min_age_secs": 60}
    assert config["storage_class"] == "standard"
    printed = s2("streams", "reconfigure", uri, "--unset", "delete-on-empty-min-age", "-o", "jsonl").stdout
    assert json.loads(printed)["delete_on_empty"] == {"min_age_secs": 0}

    done = s2("basins", "reconfigure", basin, "--create-stream-on-append", "--retention-policy", "infinite")
    assert done.stderr == f"reconfigured basin {basin}\n".encode()
    printed = s2("basins", "reconfigure", basin, "--unset", "retention-policy", "-o", "json").stdout
    assert json.loads(printed) == config_of(shared_server, basin)
    assert json.loads(printed)["default_stream_config"] is None
    assert json.loads(printed)["create_stream_on_append"] is True


def test_the_official_verbs_print_the_whole_config(s2, shared_server, basin):
    shared_server.create_stream(basin, "s")
    done = s2("reconfigure-basin", basin, "--create-stream-on-read", "true", "--stream-cipher", "aes-256-gcm")
    assert done.stderr == "✓ Basin reconfigured\n".encode()
    assert b"create_stream_on_read\ttrue\n" in done.stdout
    done = s2("reconfigure-basin", f"s2://{basin}", "--create-stream-on-read=false")
    assert b"create_stream_on_read\tfalse\n" in done.stdout
    assert b"stream_cipher\taes-256-gcm\n" in done.stdout
    done = s2("reconfigure-stream", f"s2://{basin}/s", "--retention-policy", "2d")
    assert (done.stderr, b"retention_policy\t2d\n" in done.stdout) == ("✓ Stream reconfigured\n".encode(), True)


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (
            "streams reconfigure s2://my-basin/s",
            2,
            "error: nothing to change: no option sets or unsets anything\nhint: s2 streams reconf",
        ),
        (
            "basins reconfigure my-basin --unset color",
            2,
            'error: --unset: "color" is not a member of a basin: storage-cla',
        ),
        (
            "ensure s2://my-basin/s --unset stream-cipher",
            2,
            'error: --unset: "stream-cipher" is not a member of a stream',
        ),
        (
            "ensure my-basin --retention-policy 1d --unset retention-policy",
            2,
            "error: --retention-policy and --unset r",
        ),
        ("ensure s2://my-basin/s --create-stream-on-read", 2, "error: --create-stream-on-read is for basins"),
        ("basins delete my-basin -y --request-token " + "x" * 37, 2, "error: Request token must be between 1 and 36"),
        ("create my-basin --request-token ä", 2, "error: --request-token must be printable ASCII"),
        (
            "streams reconfigure s2://no-such-basin/s --storage-class standard",
            3,
            "error: cannot reconfigure stream s2:",
        ),
        (
            "basins reconfigure no-such-basin --no-create-stream-on-read",
            3,
            "error: cannot reconfigure basin no-such-ba",
        ),
    ],
)
def test_what_cannot_be_changed_is_explained(s2, line, code, message):
    done = s2(*line.split(), code=code)
    assert done.stdout == b""
    assert done.stderr.decode().startswith(message)


def test_every_member_can_be_given_and_be_unset():
    for member in STREAM_MEMBERS:
        assert list(stream_patch(EnsureStreamArgs(unset=(member,)))) != []
    assert stream_patch(EnsureStreamArgs(unset=STREAM_MEMBERS)) == {
        "storage_class": None,
        "retention_policy": None,
        "timestamping": {"mode": None, "uncapped": None},
        "delete_on_empty": None,
    }
    assert basin_patch(EnsureBasinArgs(unset=BASIN_MEMBERS)) == {
        "default_stream_config": stream_patch(EnsureStreamArgs(unset=STREAM_MEMBERS)),
        "stream_cipher": None,
    }
    assert stream_patch(EnsureStreamArgs(timestamping_mode="arrival", unset=("timestamping-uncapped",))) == {
        "timestamping": {"mode": "arrival", "uncapped": None}
    }


# Answers that are lost


def test_a_create_whose_answer_was_lost_ends_with_0(s2, front, unique_basin):
    basin = unique_basin()
    for arguments in (("create", basin), ("create", f"s2://{basin}/s")):
        front.to_lose = 2
        front.seen.clear()
        assert b"trying again" in s2(*arguments, at=front).stderr
        first, *others = front.tokens()
        assert first is not None
        assert others == [first, first]
    s2("create", basin, at=front, code=5)


def test_every_write_whose_answer_was_lost_ends_as_if_it_were_not(s2, front, shared_server, basin):
    for arguments in (
        ("ensure", f"s2://{basin}/s"),
        ("ensure", f"s2://{basin}/s", "--retention-policy", "3d"),
        ("streams", "reconfigure", f"s2://{basin}/s", "--storage-class", "standard"),
        ("basins", "reconfigure", basin, "--create-stream-on-append"),
        ("locations", "set-default", "local"),
        ("streams", "delete", f"s2://{basin}/s", "--yes"),
        ("basins", "delete", basin, "--yes"),
    ):
        front.to_lose = 1
        s2(*arguments, at=front)
        assert front.to_lose == 0


def test_the_token_of_a_request_can_be_chosen(s2, front, unique_basin):
    basin = unique_basin()
    s2("create", basin, "--request-token", "mine-1", at=front)
    s2("create", basin, "--request-token", "mine-1", at=front)  # the same request: it is done
    s2("create", basin, "--request-token", "mine-2", at=front, code=5)
    s2("streams", "create", f"s2://{basin}/s", "--request-token", "mine-3", at=front)
    s2("basins", "reconfigure", basin, "--create-stream-on-append", "--request-token", "mine-4", at=front)
    assert front.tokens() == ["mine-1", "mine-1", "mine-2", "mine-3", "mine-4"]


def test_what_a_lost_attempt_may_have_done_is_said(s2, shared_server, unique_basin):
    """Where the server does not know the token any more."""
    basin = unique_basin()

    class Forgetful(LossyFront):
        def ask(self, server, method, path, headers, body):
            return super().ask(server, method, path, {**headers, "s2-request-token": os.urandom(8).hex()}, body)

    forgetful = Forgetful(shared_server)
    try:
        forgetful.to_lose = 1
        done = s2("create", basin, at=forgetful, code=5)
    finally:
        forgetful.close()
    assert b"already exists (an earlier attempt, whose answer was lost, may have taken effect)" in done.stderr


# Configs of streams that an append or a read creates


def test_an_append_says_what_the_stream_it_creates_is_to_be_like(s2, shared_server):
    basin = shared_server.create_basin(create_stream_on_append=True)
    options = ["--retention-policy", "9d", "--timestamping-mode", "client-prefer", "--timestamping-uncapped", "true"]
    s2("append", f"s2://{basin}/s", *options, "--delete-on-empty-min-age", "1h", "--storage-class", "ü", stdin=b"x\n")
    expected = {
        "storage_class": "ü",
        "retention_policy": {"age": 9 * 86400},
        "timestamping": {"mode": "client-prefer", "uncapped": True},
        "delete_on_empty": {"min_age_secs": 3600},
    }
    assert config_of(shared_server, basin, "s") == expected
    s2("append", f"s2://{basin}/s", "--retention-policy", "1d", stdin=b"x\n")  # it is there: nothing changes
    assert config_of(shared_server, basin, "s") == expected


@pytest.mark.parametrize("arguments", [["read"], ["read", "--from", "-5"], ["append"], ["append", "--create"]])
def test_a_stream_that_reads_create_is_as_the_options_say(s2, shared_server, arguments):
    """A question for the tail creates it too, and would do so without them."""
    basin = shared_server.create_basin(create_stream_on_read=True)
    s2(*arguments, f"s2://{basin}/s", "--retention-policy", "9d", stdin=b"x\n")
    assert config_of(shared_server, basin, "s")["retention_policy"] == {"age": 9 * 86400}
    assert s2("read", f"s2://{basin}/s").stdout == (b"x\n" if "append" in arguments else b"")


def test_a_read_with_options_does_not_create_where_its_basin_does_not(s2, basin):
    done = s2("read", f"s2://{basin}/s", "--retention-policy", "9d", code=3)
    assert b"not found" in done.stderr


def test_plain_appends_and_reads_send_no_config():
    assert stream_config_header(StreamConfigArgs()) is None
    target = Target(account_url="http://localhost", basin_url="http://localhost")
    names = [name for name, _ in StreamClient(target, "my-basin", "s", 1).headers]
    assert "s2-stream-config" not in names
    header = stream_config_header(StreamConfigArgs(storage_class="ü", timestamping_uncapped=False))
    assert header == '{"storage_class":"\\u00fc","timestamping":{"uncapped":false}}'
