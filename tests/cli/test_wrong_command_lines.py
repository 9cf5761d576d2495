"""What a command line that is wrong is told, and in which form."""

import pytest

POSITION = (
    '"%s" is not a position: write a sequence number, -N (N before the tail), start, end, now, 5m (ago), '
    "2026-01-31T12:00:00Z, 2026-01-31, yesterday, 10:00 or @EPOCH"
)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("frobnicate", "unrecognized subcommand 'frobnicate'", "s2 --help lists the commands"),
        ("apend s2://b/s", "unrecognized subcommand 'apend'", "did you mean s2 append?"),
        ("list-tokens", "unrecognized subcommand 'list-tokens'", "did you mean s2 tokens list?"),
        ("ensure-basin my-basin", "unrecognized subcommand 'ensure-basin'", "did you mean s2 basins ensure?"),
        ("ensure-stream", "unrecognized subcommand 'ensure-stream'", "did you mean s2 streams ensure?"),
        ("rm-token", "unrecognized subcommand 'rm-token'", "did you mean s2 tokens revoke?"),
        ("list-things", "unrecognized subcommand 'list-things'", "s2 --help lists the commands"),
        ("basins lst", "unrecognized subcommand 'basins lst'", "did you mean s2 basins list?"),
        ("token", "unrecognized subcommand 'token'", "did you mean s2 tokens?"),
        ("token list", "unrecognized subcommand 'token'", "did you mean s2 tokens list?"),
        ("basin create s2://a", "unrecognized subcommand 'basin'", "did you mean s2 basins create s2://a?"),
        (
            "--local stream rm s2://a/b",
            "unrecognized subcommand 'stream'",
            "did you mean s2 --local streams delete s2://a/b?",
        ),
        ("rm s2://b/s", "unrecognized subcommand 'rm'", "did you mean s2 delete?"),
        ("show s2://b/s", "unrecognized subcommand 'show'", "did you mean s2 get?"),
        ("issue t", "unrecognized subcommand 'issue'", "did you mean s2 tokens issue?"),
        (
            "update b",
            "unrecognized subcommand 'update'",
            "did you mean s2 basins reconfigure or s2 streams reconfigure?",
        ),
        ("cat s2://b/s", "unrecognized subcommand 'cat'", "did you mean s2 read?"),
        ("basins show", "unrecognized subcommand 'basins show'", "did you mean s2 basins get?"),
        ("basins gte", "unrecognized subcommand 'basins gte'", "did you mean s2 basins get?"),
        ("records apend", "unrecognized subcommand 'records apend'", "did you mean s2 records append?"),
        (
            "s2://b/s",
            "unrecognized subcommand 's2://b/s'",
            "a command comes first: s2 read URI prints the records of a stream",
        ),
        ("streams rm a", "unrecognized subcommand 'streams rm'", "did you mean s2 streams delete?"),
        ("tokens rm a", "unrecognized subcommand 'tokens rm'", "did you mean s2 tokens revoke?"),
        (
            "login",
            "unrecognized subcommand 'login'",
            "export S2_ACCESS_TOKEN=…, or --access-token-file FILE; s2 help environment",
        ),
        ("read --form 1", "s2 read has no option --form", "did you mean --from?"),
        ("read --count -1", "s2 read: --count: -1 is below 0", None),
        ("--color sometimes ls", '--color: "sometimes" is none of always, auto, never', None),
        ("read --folow", "s2 read has no option --folow", "did you mean --follow?"),
        ("read --fol", "s2 read has no option --fol", "did you mean --follow?"),
        ("read -X", "s2 read has no option -X", "s2 read --help shows the usage"),
        (
            "read --reverse",
            "s2 read has no option --reverse",
            "records come in the order of the stream; --from -N begins N before its end",
        ),
        ("basins list --reverse", "s2 basins list has no option --reverse", "lists are in the order of names"),
        ("tail --revers", "s2 tail has no option --revers", "s2 tail --help shows the usage"),
        ("read --json", "s2 read has no option --json", "did you mean -o json?"),
        ("streams get --json a", "s2 streams get has no option --json", "did you mean -o json?"),
        (
            "append --json",
            "s2 append has no option --json",
            "did you mean -o json for the account, --format json for the input?",
        ),
        ("read --since 5m", "s2 read has no option --since", "did you mean --from POSITION?"),
        ("read --limit 5", "s2 read has no option --limit", "did you mean -n, --count N?"),
        ("list --count 5", "s2 list has no option --count", "did you mean -n, --limit N?"),
        ("read --tail 5", "s2 read has no option --tail", "did you mean --from -N, or s2 tail?"),
        ("tail --tail 5", "s2 tail has no option --tail", "did you mean -n, --lines N?"),
        ("delete b --force", "s2 delete has no option --force", "did you mean -y, --yes?"),
        (
            "read --encryption-key=c2VjcmV0",
            "s2 read has no option --encryption-key",
            "a key does not belong in a command line: -k FILE, or export S2_ENCRYPTION_KEY=…",
        ),
        (
            "ls --token x",
            "s2 ls has no option --token",
            "a token does not belong in a command line: --access-token-file FILE, or export S2_ACCESS_TOKEN=…",
        ),
        (
            "lite --wal-bucket b",
            "s2 lite has no option --wal-bucket",
            "s2 lite keeps all of its data in one place: --data DIR or --bucket s3://NAME/PREFIX",
        ),
        (
            "lite --tls-self",
            "s2 lite has no option --tls-self",
            "s2 lite serves http:// alone: put a proxy for TLS before it",
        ),
        ("--colour always", "s2 has no option --colour", "did you mean --color?"),
        ("read -n five", 's2 read: --count: "five" is not a whole number', "s2 read --help shows the usage"),
        ("append --format yaml", 's2 append: --format: "yaml" is not text, json or json-base64', None),
        ("basins get", "s2 basins get: BASIN is missing", None),
        ("read a b", "s2 read: unexpected argument: b", None),
        ("append -m", "s2 append: option '-m' requires an argument", None),
        (
            "append --linger soon",
            's2 append: --linger: "soon" is not a duration: write 500ms, 30s, 5m, 2h 30m or 7d',
            None,
        ),
        ("append --inflight lots", 's2 append: --inflight: "lots" is not a size: write 65536, 512KiB or 4MiB', None),
        (
            "read -o yaml",
            '--output: "yaml" is not text, jsonl, json-base64 or pretty',
            "to write to a file of that name: -O yaml",
        ),
        ("read -o json --format text", "--format text and --output json ask for two formats", None),
        ("read -o x.json -O y", "--output x.json and --output-file y name two files", None),
        ("trim s2://my-basin/s", "TRIM_POINT is missing", "s2 trim s2://BASIN/STREAM TRIM_POINT"),
        ("trim s2://my-basin/s five", 'TRIM_POINT must be a whole number, not "five"', None),
        ("trim my-basin/s 5", 'neither "my-basin/s" nor "5" is a stream: it must begin with s2://', None),
        ("fence s2://a/b s2://c/d", "two streams were given, and no NEW_TOKEN: s2://a/b and s2://c/d", None),
        (
            "lite start",
            's2 lite: [ACTION]: "start" is none of status, stop, check, repair, backup, restore, trust-clock',
            None,
        ),
        ("completion tcsh", 's2 completion: bash|zsh|fish: "tcsh" is none of bash, zsh, fish', None),
        (
            "create my-basin/s",
            '"my-basin/s" is not a basin or stream: a stream begins with s2://, as in s2://BASIN/STREAM',
            "did you mean s2://my-basin/s?",
        ),
        (
            "read S2://my-basin/$x",
            '"S2://my-basin/$x" is not a stream: a stream begins with s2://, as in s2://BASIN/STREAM',
            "did you mean 's2://my-basin/$x'?",
        ),
        ("read http://a/b", '"http://a/b" is not a stream: a stream begins with s2://, as in s2://BASIN/STREAM', ""),
        ("list basins", "Basin name must be between 8 and 48 bytes, not 6", "did you mean s2 basins list?"),
        (
            "--local get stream s2://a/b",
            "s2 get: unexpected argument: s2://a/b",
            "did you mean s2 --local streams get s2://a/b?",
        ),
        ("rm token x", "unrecognized subcommand 'rm'", "did you mean s2 tokens revoke x?"),
        (
            "list basins --access-token hunter2 -p x --key=hunter2 -khunter2 -k hunter2",
            "s2 list has no option --access-token",
            "did you mean s2 basins list --access-token … -p x --key=… -k… -k …?",
        ),
        ("read -5 s2://a/b", "s2 read has no option -5", "did you mean --from -5, or -n 5?"),
        (
            "tail -n +5 s2://a/b",
            's2 tail: --lines: "+5" is not a whole number',
            "to start at that record: s2 read --from 4; sequence numbers begin with 0",
        ),
        (
            "tail +0 s2://a/b",
            "s2 tail: unexpected argument: s2://a/b",
            "to start at that record: s2 read --from 0; sequence numbers begin with 0",
        ),
        ("read -n 1_000 s2://a/b", 's2 read: --count: "1_000" is not a whole number', "s2 read --help shows the usage"),
        ("lite --port ٣", 's2 lite: --port: "٣" is not a whole number', "s2 lite --help shows the usage"),
        ("local list", "unrecognized subcommand 'local'", "it is an option: s2 --local COMMAND"),
        (
            "tokens issue x --basins-prefix y",
            "the token would allow nothing",
            "--ops read,append for some operations, --op-group-perms stream=rw for all of streams",
        ),
        ("tail 10 s2://a/b", "s2 tail: unexpected argument: s2://a/b", "did you mean s2 tail -n 10 s2://a/b?"),
        ("tail -f s2://a/b 10", "s2 tail: unexpected argument: 10", "did you mean s2 tail -n 10 s2://a/b?"),
        ("read s2://a/$b 5", "s2 read: unexpected argument: 5", "did you mean s2 read -n 5 's2://a/$b'?"),
        (
            "create my-basin my-basin-2",
            "s2 create: unexpected argument: my-basin-2",
            "one basin at a time: s2 create my-basin, then s2 create my-basin-2; or did you mean "
            "s2://my-basin/my-basin-2?",
        ),
        (
            "basins create my-basin my-basin-2",
            "s2 basins create: unexpected argument: my-basin-2",
            "one basin at a time: s2 basins create my-basin, then s2 basins create my-basin-2",
        ),
        ("create AAAAAAAA BBBBBBBB", "s2 create: unexpected argument: BBBBBBBB", "one basin or stream at a time"),
        ("create my-basin web", "s2 create: unexpected argument: web", "did you mean s2://my-basin/web?"),
        ("read s2://my-basin a/b", "s2 read: unexpected argument: a/b", "did you mean s2://my-basin/a/b?"),
        ("read s2://a/b --from -1h", "--from: " + POSITION % "-1h", "did you mean 1h? A duration is how long ago"),
        ("read s2://a/b --to=-90m", "--to: " + POSITION % "-90m", "did you mean 90m? A duration is how long ago"),
        (
            "read s2://a/b --from +5m",
            "--from: " + POSITION % "+5m",
            "nothing lies in the future: a duration is how long ago",
        ),
        ("read s2://a/b --from x", "--from: " + POSITION % "x", ""),
        (
            "read s2://a/b --ago soon",
            '--ago: "soon" is not a duration: write 500ms, 30s, 5m, 2h 30m or 7d',
            "",
        ),
        ("help env", 'no help on "env"', "did you mean s2 help environment?"),
        ("help exitcodes", 'no help on "exitcodes"', "did you mean s2 help exit-codes?"),
        ("help raed", 'no help on "raed"', "did you mean s2 help read?"),
        ("help rm", 'no help on "rm"', "did you mean s2 delete?"),
        (
            "help frobnicate",
            'no help on "frobnicate"',
            "topics: commands, options, environment, exit-codes, formats; commands: s2 --help",
        ),
        ("tail -n -5 s2://a/b", "s2 tail: --lines: -5 is below 0", "s2 tail --help shows the usage"),
        (
            "create my-basin --retention-policy forever",
            '--retention-policy: "forever" is not a duration: write 500ms, 30s, 5m, 2h 30m or 7d, or infinite',
            None,
        ),
        ("create s2://my-basin/s --location x", "--location is for basins, but s2://my-basin/s is a stream", None),
        ("basins create b", "Basin name must be between 8 and 48 bytes, not 1", None),
        ("basins list --prefix ÄÖ", "basin prefix must have at most 48 lowercase letters, numbers, and hyphens", None),
        ("streams list s2://my-basin/a -p b", "s2://my-basin/a and --prefix b name two prefixes: give one of them", ""),
        ("create my-basin --retention-policy 0s", "--retention-policy must be at least one second, or infinite", None),
        (
            "create s2://my-basin --retention-policy 1ms",
            "--retention-policy: 1ms is not in whole seconds: write 1s, 5m or 7d, or infinite",
            None,
        ),
    ],
)
def test_a_wrong_command_line_is_told_what_is_wrong_and_what_to_type(run_s2, line, message, hint):
    done = run_s2(*line.split())
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (2, b"")
    assert lines[0] == f"error: {message}"
    assert len(lines) <= 2
    if hint:
        assert lines[1] == f"hint: {hint}"


@pytest.mark.parametrize(
    ("options", "environment", "hint"),
    [
        ([], {}, "without an account: s2 --local read s2://BASIN/STREAM"),
        (["--local"], {}, "s2 --local list shows the basins, s2 --local list BASIN the streams of one"),
        ([], {"S2_PROFILE": "local"}, "s2 list shows the basins, s2 list BASIN the streams of one"),
        ([], {"S2_ACCESS_TOKEN": "t"}, "s2 list shows the basins, s2 list BASIN the streams of one"),
        (
            ["--account-endpoint", "http://localhost:1", "--basin-endpoint", "http://localhost:1"],
            {},
            "{0} list shows the basins, {0} list BASIN the streams of one".format(
                "s2 --account-endpoint http://localhost:1 --basin-endpoint http://localhost:1"
            ),
        ),
    ],
)
def test_without_a_stream_it_is_told_where_they_are(run_s2, options, environment, hint):
    done = run_s2(*options, "read", env=environment)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[1] == f"hint: {hint}"


def test_an_error_in_json_mode_is_json_on_stderr(run_s2):
    import json

    done = run_s2("basins", "list", "-o", "json", "--prefix", "ÄÖ")
    assert (done.returncode, done.stdout) == (2, b"")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "bad_value"
    assert error["exit_code"] == 2
    assert "basin prefix" in error["message"]


def test_a_bug_is_one_line_with_where_to_report_it(run_s2, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n\nclass Broken:\n    def list_basins(args):\n"
        "        raise RuntimeError('oh\\nno')\n"
        "sys.modules['s2cli.commands.basins'] = Broken\n"
    )
    done = run_s2("basins", "list", env={"PYTHONPATH": str(tmp_path)})
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert lines[0] == "error: this is a bug in s2: RuntimeError: oh\\x0ano at sitecustomize.py:5"
    assert lines[1].startswith("hint: report this line")
    traced = run_s2("basins", "list", env={"PYTHONPATH": str(tmp_path), "S2_DEBUG": "1"})
    assert b"Traceback" in traced.stderr
