"""Access tokens, metrics and locations on the command line, against a real server, and the official verbs for them."""

import contextlib
import json
import re
import time

import pytest
from support.lossy_front import LossyFront

from s2cli.cli.account_args import IssueTokenArgs, MetricsArgs
from s2cli.commands import metrics, official, tokens
from s2cli.errors import UsageError

ROOT_TOKEN = "root-token-of-the-tests"
AS_ROOT = {"S2_ACCESS_TOKEN": ROOT_TOKEN}
SECRET = re.compile(rb"\S{20,}\n")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, lite_process):
    """A server that asks for access tokens."""
    path = tmp_path_factory.mktemp("root") / "token"
    path.write_text(ROOT_TOKEN + "\n")
    path.chmod(0o600)
    with contextlib.closing(lite_process(None, options=("--root-token-file", str(path))).start()) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def env(guarded):
    return {**guarded.env(), **AS_ROOT}


# Access tokens


def test_the_token_stands_alone_on_stdout_and_works_until_it_is_revoked(s2, unique_basin):
    basin = unique_basin()
    s2("create", f"s2://{basin}")
    done = s2("tokens", "issue", "works", "--basins-exact", basin, "--streams-prefix=", "--op-group-perms", "stream=rw")
    assert SECRET.fullmatch(done.stdout)
    assert done.stderr == b""
    token = done.stdout.decode().strip()
    s2("create", f"s2://{basin}/s")
    s2("append", f"s2://{basin}/s", env={"S2_ACCESS_TOKEN": token}, stdin=b"x\n")
    assert s2("read", f"s2://{basin}/s", env={"S2_ACCESS_TOKEN": token}).stdout == b"x\n"
    s2("streams", "list", basin, env={"S2_ACCESS_TOKEN": token}, code=4)
    assert s2("tokens", "revoke", "works").stderr == b"revoked access token works\n"
    s2("read", f"s2://{basin}/s", env={"S2_ACCESS_TOKEN": token}, code=4)
    done = s2("tokens", "revoke", "works", code=3)
    assert done.stderr.decode().splitlines()[1] == "hint: s2 tokens list shows the access tokens"


@pytest.mark.parametrize(
    ("options", "warnings"),
    [
        (
            "--ops read,create-basin",
            [
                "the token covers no basin, so that it allows no create-basin, read; --basins-prefix '' covers all",
                "the token covers no stream, so that it allows no read; --streams-prefix '' covers all",
            ],
        ),
        (
            "--op-group-perms stream=w --basins-exact my-basin",
            ["the token covers no stream, so that it allows no append, trim, fence; --streams-prefix '' covers all"],
        ),
        (
            "--ops issue-access-token",
            [
                "the token covers no access token, so that it allows no issue-access-token; "
                "--access-tokens-prefix '' covers all"
            ],
        ),
        ("--ops read --basins-prefix= --streams-prefix=", []),
        ("--ops get-basin-config --basins-prefix=", []),
        ("--ops list-locations,account-metrics", []),
    ],
)
def test_a_token_that_allows_nothing_of_an_operation_is_told_of(s2, unique_basin, options, warnings):
    done = s2("-q", "tokens", "issue", unique_basin(), *options.split())
    assert SECRET.fullmatch(done.stdout)
    assert done.stderr.decode().splitlines() == [f"warning: {warning}" for warning in warnings]


def test_what_a_token_allows_is_what_the_options_say(s2):
    s2(
        *("tokens", "issue", "full", "--basins-prefix", "a", "--streams-prefix", "=a/", "--auto-prefix-streams"),
        *("--access-tokens-exact", "=other", "--op-group-perms", "account=r,basin=w,stream=rw"),
        *("--ops", "list_basins, get_account_metrics,set-default-location"),
        *("--expires-at", "2100-01-02T03:04:05.123456Z"),
    )  # fmt: skip
    (item,) = json.loads(s2("tokens", "list", "-p", "full", "-o", "json").stdout)
    assert (item["id"], item["auto_prefix_streams"]) == ("full", True)
    assert item["expires_at"] == "2100-01-02T03:04:05.123456Z"
    scope = item["scope"]
    assert scope["basins"] == {"prefix": "a"}
    assert scope["streams"] == {"prefix": "=a/"}
    assert scope["access_tokens"] == {"exact": "=other"}
    assert scope["op_groups"]["account"] == {"read": True, "write": False}
    assert scope["op_groups"]["basin"] == {"read": False, "write": True}
    assert set(scope["ops"]) == {"list-basins", "account-metrics", "set-default-location"}
    row = s2("tokens", "list", "--prefix", "full", "--no-headers").stdout.decode().rstrip("\n").split("\t")
    assert row[:5] == ["full", "2100-01-02T03:04:05.123456Z", "a*", "=a/*", "=other"]
    assert row[5] == "account=r,basin=w,stream=rw"


def test_tokens_in_every_format(s2):
    issued = json.loads(
        s2("tokens", "issue", "f1", "--basins-prefix", "", "--ops", "read", "-o", "json", "--expires-in", "1h").stdout
    )
    assert list(issued) == ["access_token"]
    refused = s2("tokens", "issue", "f2", "--ops", "read", "-o", "name", "--basins-exact", "", code=2)
    assert b"would leave out the token" in refused.stderr
    s2("tokens", "issue", "f2", "--ops", "read", "-o", "table", "--basins-exact", "")
    assert s2("tokens", "list", "-p", "f", "-s", "f1", "-o", "name").stdout.split()[:1] == [b"f2"]
    lines = [json.loads(line) for line in s2("tokens", "list", "-p", "f", "-o", "jsonl").stdout.splitlines()]
    by_id = {item["id"]: item for item in lines}
    assert by_id["f2"]["expires_at"] is None
    left = time.mktime(time.strptime(by_id["f1"]["expires_at"][:19], "%Y-%m-%dT%H:%M:%S")) - time.mktime(time.gmtime())
    assert 3500 < left < 3700
    table = s2("tokens", "list", "-p", "f2").stdout.decode().splitlines()
    assert table[0].split("\t") == ["ID", "EXPIRES", "BASINS", "STREAMS", "TOKENS", "GROUPS", "OPS"]
    assert table[1].split("\t") == ["f2", "never", "-", "-", "-", "-", "read"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--expires-in 1d --expires-at 2030-01-01", "--expires-in and --expires-at name two times: give one of them"),
        ("--expires-in soon", '--expires-in: "soon" is not a duration: write 500ms, 30s, 5m, 2h 30m or 7d'),
        ("--expires-at soon", '--expires-at: "soon" is not a time: write 2026-01-31T12:00:00Z or 2026-01-31'),
        ("--basins-exact a --basins-prefix b", "--basins-prefix and --basins-exact name two sets: give one of them"),
        ("--ops read,fly", '--ops: "fly" is not an operation: '),
        ("--op-group-perms stream=x", '--op-group-perms: "stream=x" is not account=…, basin=… or stream=…'),
        ("--op-group-perms stream", '--op-group-perms: "stream" is not account=…, basin=… or stream=…'),
    ],
)
def test_a_wrong_token_is_explained_before_the_server_is_asked(run_s2, options, message):
    done = run_s2("tokens", "issue", "t", *options.split(), env={"S2_ACCESS_TOKEN": "x"})
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith("error: " + message)


def test_times_of_expiry():
    for text, expected in (
        ("2030-01-02T03:04:05.123456789Z", "2030-01-02T03:04:05.123456789Z"),
        ("2030-01-02T03:04:05+01:00", "2030-01-02T02:04:05.000Z"),
        ("2030-01-02 03:04:05Z", "2030-01-02T03:04:05.000Z"),
    ):
        assert tokens.token_request(IssueTokenArgs(token_id="t", expires_at=text))["expires_at"] == expected
    with pytest.raises(UsageError):
        tokens.token_request(IssueTokenArgs(token_id="t", expires_in="9999999y"))


def test_an_issue_whose_answer_was_lost_says_what_to_do(s2, guarded):
    front = LossyFront(guarded)
    front.to_lose = 1
    try:
        done = s2(
            "tokens", "issue", "lost", "--basins-prefix", "", "--ops", "list-basins", at=front, env=AS_ROOT, code=5
        )
    finally:
        front.close()
    lines = done.stderr.decode().splitlines()
    assert lines[1].startswith("error: cannot issue access token lost: ")
    assert lines[2] == "hint: if its answer was lost: s2 tokens revoke lost, and issue it again"


def test_the_official_verbs_for_tokens(s2):
    arguments = ("--basins-prefix", "b", "--ops", "list_streams,read", "--op-group-perms", "account=rw,stream=w")
    done = s2("issue-access-token", "official-1", "--expires-at", "2100-01-01T00:00:00Z", *arguments)
    assert SECRET.fullmatch(done.stdout)
    s2("issue-access-token", "official-22", "--access-tokens-prefix", "", "--ops", "read", "--auto-prefix-streams",
       "--streams-prefix", "p/")  # fmt: skip
    assert s2("list-access-tokens", "--prefix", "official-").stdout.decode() == (
        "official-1   expires 2100-01-01T00:00:00Z\n"
        "  basins=b*  streams=∅  tokens=∅  perms=a:rw s:w  ops=2\n"
        "\n"
        "official-22  expires never\n"
        "  basins=∅  streams=p/*  tokens=*  perms=none  ops=1\n"
    )
    assert s2("revoke-access-token", "official-1").stderr == "✓ Access token 'official-1' revoked\n".encode()
    assert s2("list-access-tokens", "-p", "official-", "-s", "official-2", "-n", "5").stdout.startswith(b"official-22")


# Metrics


@pytest.fixture
def written(s2, unique_basin):
    """A basin with a stream that has records."""
    basin = unique_basin()
    s2("append", "--create", f"s2://{basin}/s", stdin=b"12345678\n")
    return basin


def test_metrics_in_every_format(s2, written):
    (gauge,) = json.loads(s2("metrics", "stream", f"s2://{written}/s", "-o", "json").stdout)
    assert gauge["gauge"]["unit"] == "bytes"
    assert gauge["gauge"]["values"][-1][1] == 16
    line = s2("metrics", "stream", f"s2://{written}/s", "storage", "--from", "10m", "-o", "jsonl").stdout
    assert json.loads(line)["gauge"]["name"] == gauge["gauge"]["name"]
    table = s2("metrics", "basin", written, "append-ops", "--interval", "minute").stdout.decode().splitlines()
    assert table[0].split("\t") == ["METRIC", "TIME", "VALUE", "UNIT"]
    name, moment, value, unit = table[1].split("\t")
    assert (name, value, unit) == ("append-ops (express)", "1", "operations")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:00Z", moment)
    assert written.encode() in s2("metrics", "account", "active-basins", "-o", "name").stdout.split()
    assert s2("metrics", "basin", written, "append-throughput", "-o", "name").stdout == b"express\n"
    (row, *_) = s2("metrics", "stream", f"s2://{written}/s", "--no-headers").stdout.decode().splitlines()
    assert row.split("\t")[0] == "storage"
    long_ago = s2("metrics", "basin", written, "storage", "--from", "@0", "--to", "@3600", "--no-headers")
    assert long_ago.stdout == b""
    assert s2("metrics", "account", "account-ops", "--no-headers").stdout.count(b"(create-basin)\t") == 1


def test_when_metrics_begin_and_end():
    now_ms = 1_700_000_000_000

    def times(**given):
        return metrics.start_and_end_ms(MetricsArgs(**given), now_ms)

    assert times() == (None, None)
    assert times(from_="2h", to="now") == (now_ms - 7_200_000, now_ms)
    assert times(from_="@1600000000", to="2020-10-01T00:00:00Z") == (1_600_000_000_000, 1_601_510_400_000)
    assert times(start_timestamp=5, end_timestamp=6) == (5_000, 6_000)
    assert times(start_ago="1d", end_ago="0s") == (now_ms - 86_400_000, now_ms)
    for given in ({"from_": "5"}, {"to": "-5"}, {"from_": "soon"}, {"from_": "1h", "start_ago": "1h"}):
        with pytest.raises(UsageError):
            times(**given)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("metrics account", "s2 metrics account requires a metric: active-basins, account-ops"),
        ("metrics basin my-basin", "s2 metrics basin requires a metric: storage"),
        ("get-stream-metrics s2://my-basin/s", "s2 get-stream-metrics requires a metric: storage"),
        ("get-account-metrics active-basins --end-ago 0s", "one of --start-timestamp and --start-ago is needed"),
        ("get-account-metrics active-basins --start-ago 0s", "one of --end-timestamp and --end-ago is needed"),
        ("metrics account active-basins --from 5", '--from: "5" is not a time: '),
        ("metrics account active-basins --from 1h --to 2h", "the start is after the end"),
        ("metrics basin my-basin nothing", 's2 metrics basin: SET: "nothing" is none of storage'),
    ],
)
def test_a_wrong_question_for_metrics_is_explained(run_s2, line, message):
    done = run_s2(*line.split(), env={"S2_ACCESS_TOKEN": "x"})
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith("error: " + message)


def test_metrics_as_the_official_tool_prints_them(s2, written):
    # Not the end at this second: it may be the first one of a minute, whose records would lie beyond.
    between = ("--start-ago", "1h", "--end-timestamp", str(int(time.time()) + 30))
    lines = s2("get-account-metrics", "active-basins", *between).stdout.decode().splitlines()
    assert lines[0].replace("-", "_") == "active_basins:"
    assert f"  {written}" in lines
    shown = s2("get-basin-metrics", written, "append-throughput", *between, "--interval", "minute").stdout.decode()
    assert re.fullmatch(r"express\n(\+-+\+-+\+\n)\| time {17}\| bytes \|\n\1(\| 20\S{18} \|    16 \|\n)+\1\n", shown), (
        shown
    )
    assert s2("get-stream-metrics", f"s2://{written}/s", "storage", *between).stdout.startswith(b"storage\n+")
    scalar = {"scalar": {"name": "active", "unit": "operations", "value": 7.0}}
    assert official.metric_lines(scalar) == ["active: 7.0 operations"]


# Locations


def test_locations_in_every_format(s2):
    listed = json.loads(s2("locations", "list", "-o", "json").stdout)
    assert [item["name"] for item in listed] == ["local"]
    assert json.loads(s2("locations", "get-default", "-o", "json").stdout) == listed[0]
    assert s2("locations", "list", "-o", "name").stdout == b"local\n"
    assert s2("locations", "list").stdout.decode().splitlines()[0] == "NAME\tACCESS\tSTORAGE CLASSES\tDEFAULT CLASS"
    done = s2("locations", "set-default", "local")
    assert (done.stdout, done.stderr) == (b"", b"the default location is local\n")
    assert s2("locations", "set-default", "local", "-o", "name").stdout == b"local\n"
    assert b"cannot make elsewhere the default location" in s2("locations", "set-default", "elsewhere", code=7).stderr
    s2("locations", "set-default", "no/name", code=2)


def test_locations_as_the_official_tool_prints_them(s2, capfd):
    access = s2("list-locations").stdout.decode()
    assert re.match(r"local \((public|private)\)\n", access)
    assert s2("get-default-location").stdout.decode() == access
    assert s2("set-default-location", "local").stdout.decode() == access
    official.print_location(
        {"name": "aws:us-east-1", "is_private": False, "storage_classes": ["a", "b"], "default_storage_class": "a"}
    )
    official.print_location({"name": "x", "is_private": True, "storage_classes": []})
    assert capfd.readouterr().out == (
        "aws:us-east-1 (public)\n  storage classes: a, b\n  default storage class: a\n"
        "x (private)\n  storage classes: none\n"
    )
