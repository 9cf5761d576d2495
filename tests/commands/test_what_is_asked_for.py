"""What people ask of such a tool, one test for each wish: typed into a shell, through the installed `s2`, with the
bytes on stdout, the account on stderr, and the exit code. What else each of them does is tested beside its module."""

import json
import os
import re
import signal

import pytest
from support.terminal import Watcher
from support.waiting import TIMEOUT_S, until


def said(process):
    return process.communicate(timeout=TIMEOUT_S)[1].decode()


# Reading


def test_output_template_per_record(sh):
    sh("printf '%s\\n' one two | s2 append -H k=v $B/a")
    assert sh(r"s2 read $B/a -t '%o %v{hex} %h{k}\n'") == (b"0 6f6e65 v\n1 74776f v\n", "")


def test_show_seq_num_and_timestamp_beside_the_text(sh):
    sh("""echo '{"timestamp":1767225600000,"body":"x"}' | s2 append --format jsonl $B/a""")
    assert sh("s2 read $B/a -o pretty")[0].split() == [b"2026-01-01", b"00:00:00.000", b"0", b"x"]


def test_jsonl_envelope(sh):
    sh("""echo '{"timestamp":5,"headers":[["a","b"]],"body":"x"}' | s2 append --format jsonl $B/a""")
    out, err = sh("s2 read $B/a -o jsonl")
    assert (json.loads(out), err) == ({"seq_num": 0, "timestamp": 5, "headers": [["a", "b"]], "body": "x"}, "")


def test_envelope_exact_for_binary_text_when_valid_and_marked_base64_when_not(sh):
    sh(r"printf '\x00\xff\n\xc3\xbc\n' | s2 append $B/a")
    first, second = map(json.loads, sh("s2 read $B/a -o jsonl")[0].splitlines())
    assert (first["base64"], first["body"], second["body"], "base64" in second) == (True, "AP8=", "ü", False)
    assert "2 records durable at 0..1 (" in sh("s2 read $B/a -o jsonl | s2 append --format jsonl $B/b")[1]
    assert sh("s2 read $B/b")[0] == b"\0\xff\n\xc3\xbc\n"


def test_raw_bytes_out_with_a_chosen_delimiter(sh):
    sh(r"printf 'a\r\nb\n' | s2 append $B/a")
    assert sh("s2 read $B/a --raw; s2 read $B/a --delimiter '|'; s2 read $B/a -0")[0] == b"a\rba\r|b|a\r\0b\0"


def test_json_body_shown_as_json_and_not_as_a_string(sh):
    sh("""echo '{"a":[1,2]}' | s2 append $B/a""")
    assert json.loads(sh("s2 read $B/a --parse-json")[0])["body"] == {"a": [1, 2]}


def test_read_to_the_current_end_then_exit(sh):
    sh("seq 3 | s2 append $B/a")
    assert sh("s2 read $B/a") == (b"1\n2\n3\n", "")
    assert sh("s2 read $B/a --from end") == (b"", "")


def test_range_from_start_to_end(sh):
    sh("seq 0 9 | s2 append $B/a")
    assert sh("s2 read $B/a --from 2 --to 4; s2 read $B/a --from -1 --to end; s2 read $B/a --from 1h")[0].split() == [
        b"2", b"3", b"9", *(b"%d" % number for number in range(10))
    ]  # fmt: skip


def test_last_n_then_follow(sh, start_command):
    sh("seq 5 | s2 append $B/a")
    process = start_command("tail", "-n", "2", "-f", "$B/a")
    assert [process.stdout.readline() for _ in range(2)] == [b"4\n", b"5\n"]
    sh("echo 6 | s2 append $B/a")
    # Flush at once when piped: nothing else comes that would push it.
    assert process.stdout.readline() == b"6\n"
    process.send_signal(signal.SIGINT)
    assert "stopped before sequence number 6; to resume: s2 " in said(process)
    assert process.returncode == 130


def test_a_hint_when_nothing_arrives(sh, there):
    sh("seq 5 | s2 append $B/a")
    watcher = Watcher(["read", "--follow", "--from", "end", f"{there['B']}/a"], there)
    watcher.until_says("waiting for record 5, the stream's next, nothing before it was asked for (--from start)")
    watcher.interrupt()
    watcher.close()


def test_quiet_mode(sh):
    assert sh("seq 5 | s2 -q append $B/a; s2 -q read $B/a --grep 3 -O out") == (b"", "")


def test_exit_code_when_the_server_is_gone(sh):
    script = "S2_ACCOUNT_ENDPOINT=http://127.0.0.1:9 S2_BASIN_ENDPOINT=http://127.0.0.1:9 s2 read $B/a --max-outage 0"
    out, err = sh(script, code=6)
    assert out == b""
    assert "\nerror: " in f"\n{err}"


def test_resume_where_i_stopped(sh):
    sh("seq 5 | s2 append $B/a")
    assert sh("s2 read $B/a --state mine -n 2; echo -; s2 read $B/a --state mine; s2 read $B/a --state mine")[0] == (
        b"1\n2\n-\n3\n4\n5\n"
    )


def test_filter_by_substring_regex_header_and_json_field(sh):
    lines = b'{"level":"error"}\n{"level":"info"}\n'
    sh("s2 append -H app=web $B/a; echo 12 | s2 append $B/a", stdin=lines)
    out, err = sh("s2 read $B/a --grep error")
    assert out == b'{"level":"error"}\n'
    assert re.fullmatch(r"s2://\S+: 1 record read, 2 skipped \(.*\)\n", err)
    assert sh("s2 read $B/a --grep '^[0-9]+$'; s2 read $B/a --grep-not level")[0] == b"12\n12\n"
    assert sh("s2 read $B/a --header app=web")[0].count(b"\n") == 2
    assert sh("s2 read $B/a --parse-json --jq '.body | objects | .level'")[0] == b'"error"\n"info"\n'


def test_several_streams_at_once_ordered_by_time_and_labelled(sh):
    for name, times in (("web", (1, 3)), ("db", (2, 4))):
        lines = "\n".join(f'{{"timestamp":{time},"body":"{name} {time}"}}' for time in times)
        sh(f"s2 append --format jsonl $B/app/{name} -q", stdin=lines.encode())
    assert sh("s2 read $B/app/'*'")[0] == b"app/web\tweb 1\napp/db\tdb 2\napp/web\tweb 3\napp/db\tdb 4\n"


def test_lag_rate_and_progress_while_catching_up(sh, there, start_command):
    sh("seq 5 | s2 append $B/a")
    assert re.fullmatch(
        r"s2://\S+: 5 records read to out \(10 B, \S+ s, \d+ records/s\)\n", sh("s2 read $B/a -O out")[1]
    )
    process = start_command("read", "--follow", "$B/a")
    assert [process.stdout.readline() for _ in range(5)][-1] == b"5\n"
    process.send_signal(signal.SIGUSR1)
    status = process.stderr.readline().decode()
    assert re.fullmatch(r"s2://\S+: \d records, 10 B, \d+ records/s, next \d(, tail 5, \d behind)?\n", status)


def test_colour_never_breaks_the_data(sh):
    sh("""echo '{"a":"b"}' | s2 append $B/a""")
    assert sh("FORCE_COLOR=1 s2 read $B/a; s2 --color always read $B/a -o jsonl")[0].count(b"\x1b") == 0
    assert b"\x1b[" in sh("s2 --color always read $B/a -o pretty")[0]


# Writing


def test_one_record_per_line_from_a_pipe(sh):
    out, err = sh("printf 'a\\n\\nb' | s2 append $B/a")
    assert out == b""
    assert re.fullmatch(r"s2://\S+/a: 3 records durable at 0..2 \(2 B, 1 batch, \S+ s\)\n", err)
    assert sh("s2 read $B/a")[0] == b"a\n\nb\n"


def test_envelope_in_is_envelope_out(sh):
    line = '{"timestamp":7,"headers":[["k","v"],["k","w"]],"body":"x"}'
    sh(f"echo '{line}' | s2 append --format jsonl $B/a")
    assert json.loads(sh("s2 read $B/a -o jsonl")[0]) == {"seq_num": 0, **json.loads(line)}


def test_the_same_header_on_every_record(sh):
    sh("seq 2 | s2 append -H app=web -H tier=1 $B/a")
    assert sh(r"s2 read $B/a -t '%H\n'")[0] == b"app=web,tier=1\n" * 2


def test_one_file_is_one_record_and_nul_or_a_custom_delimiter_ends_records(sh):
    sh(r"printf 'a\nb\n' > f; s2 append --raw $B/a f")
    sh(r"printf 'c\nd\0e' | s2 append -0 $B/a")
    sh("printf f--g | s2 append --delimiter=-- $B/a")
    assert sh("s2 read $B/a --delimiter '|'")[0] == b"a\nb\n|c\nd|e|f|g|"


def test_binary_input(sh):
    data = bytes(range(256)).replace(b"\n", b"")
    sh("s2 append $B/a", stdin=data)
    assert sh("s2 read $B/a --raw")[0] == data


def test_a_long_line_has_a_clear_limit(sh):
    script = "{ echo short; head -c 1100000 /dev/zero | tr '\\0' x; } | s2 append $B/a"
    err = sh(script, code=7)[1]
    assert "1 durable at 0 (" in err
    assert "error: line 2: the record has at least " in err
    assert "more than the 1048568 that fit into one" in err


def test_tell_which_line_failed_and_keep_going_or_stop(sh):
    lines = """printf '%s\\n' '{"body":"1"}' bad '{"body":"3"}' | s2 append --format jsonl """
    err = sh(lines + "$B/a --on-error skip", code=7)[1]
    assert "line 2" in err
    assert "2 records durable at 0..1 (" in err
    err = sh(lines + "$B/b", code=7)[1]
    assert "error: line 2: " in err
    assert "1 durable at 0 (" in err
    sh(lines + "$B/c --on-error rejected", code=7)
    assert sh("cat rejected; s2 read $B/a")[0] == b"bad\n1\n3\n"


def test_a_failure_and_a_count_when_delivery_is_incomplete(sh):
    sh("s2 create $B/a; s2 fence $B/a mine")
    err = sh("seq 5 | s2 append $B/a --fencing-token other", code=5)[1]
    assert "5 read, 5 sent, 0 durable (" in err
    assert '"mine", and "other" was given\n' in err


def test_resume_an_interrupted_load_without_duplicates(sh, start_command):
    sh("seq 100000 > load")
    process = start_command("append", "$B/a", "--state", "load", "load", "--rate", "20000/s")
    until(lambda: sh("s2 read $B/a -n 1 || true")[0])
    process.kill()
    process.wait()
    out, err = sh("s2 append $B/a --state load load; s2 read $B/a | cmp - load")
    assert out == b""
    assert " records durable at " in err


def test_no_duplicate_load_beside_another_writer(sh):
    script = "{ echo 1; sleep 0.3; echo theirs | s2 append -q $B/a; echo 2; } | s2 append --exactly-once $B/a"
    assert "another writer appends to this stream" in sh(script, code=5)[1]
    assert sh("s2 read $B/a")[0] == b"1\ntheirs\n"


def test_rate_limit_and_replay_with_the_original_spacing(sh):
    out, err = sh("seq 20 | s2 append $B/a --rate 100/s -o json")
    assert (json.loads(out)["durable"], err) == (20, "")
    lines = '{"timestamp":1000,"body":"a"}\n{"timestamp":1400,"body":"b"}\n'
    sh("s2 append --format jsonl $B/b -q", stdin=lines.encode())
    assert sh("s2 read $B/b --speed 2x")[0] == b"a\nb\n"


def test_copy_stream_to_stream_keeping_headers_and_time(sh):
    sh("""echo '{"timestamp":7,"headers":[["k","v"]],"body":"x"}' | s2 append --format jsonl $B/a""")
    out, err = sh("s2 copy $B/a $B/b; s2 copy $B/a $B/b; s2 read $B/b -o jsonl")
    assert json.loads(out) == {"seq_num": 0, "timestamp": 7, "headers": [["k", "v"]], "body": "x"}
    assert [": 1 record copied at 0 (" in line or ": 0 records copied (" in line for line in err.splitlines()] == [
        True
    ] * 2


def test_copy_what_a_filter_chooses(sh):
    sh("seq 30 | s2 append $B/a")
    assert ": 3 records copied at 0..2, 27 skipped (" in sh("s2 copy $B/a $B/b --grep 0")[1]
    assert sh("s2 read $B/b")[0] == b"10\n20\n30\n"


def test_dry_run_counts_and_sends_nothing(sh):
    sh("s2 create $B/a")
    out, err = sh("seq 1500 | s2 append --dry-run $B/a")
    assert "1500 records" in err + out.decode()
    assert "2 batches" in err + out.decode()
    assert sh("s2 check-tail $B/a")[0].startswith(b"0 @ ")


def test_idempotent_append(sh):
    sh("s2 create $B/a; echo once | s2 append $B/a --match-seq-num 0")
    assert "the next sequence number of " in sh("echo once | s2 append $B/a --match-seq-num 0", code=5)[1]
    assert sh("s2 read $B/a")[0] == b"once\n"


def test_run_something_per_record(sh):
    sh("seq 3 | s2 append $B/a; s2 create $B/dead")
    run = """--exec 'test "$(cat)" != 2 && echo $S2_RECORD_SEQ_NUM'"""
    out = sh(f"s2 read $B/a {run} --exec-retries 0 --dead-letter $B/dead")[0]
    assert out == b"0\n2\n"
    assert sh("s2 read $B/dead")[0] == b"2\n"


def test_a_command_whose_output_is_appended(sh):
    out, err = sh("s2 append $B/a -- sh -c 'echo out; exit 3'", code=3)
    assert out == b""
    assert "2 records durable at 0..1 (" in err
    assert sh("s2 read $B/a")[0] == b"out\nexited with 3\n"


# In pipes, at signals


def test_a_pipe_to_head_ends_quietly(sh):
    sh("seq 100000 | s2 append $B/a")
    assert sh("set -o pipefail; s2 read $B/a | head -n 1") == (b"1\n", "")


def test_ctrl_c_gives_130_and_says_what_was_durable(sh, start_command, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    process = start_command("append", "$B/a", "pipe")
    with open(tmp_path / "pipe", "wb", buffering=0) as pipe:
        pipe.write(b"1\n")
        until(lambda: sh("s2 read $B/a || true")[0] == b"1\n")
        process.send_signal(signal.SIGINT)
        text = said(process)
    assert process.returncode == 130
    assert ": 1 read, 1 sent, 1 durable at 0 (" in text


def test_colour_is_decided_per_stream(sh):
    assert "\x1b[" not in sh("s2 read $B/missing", code=3)[1]
    assert "\x1b[1;31merror:\x1b[0m" in sh("s2 --color always read $B/missing", code=3)[1]
    assert "\x1b[" not in sh("NO_COLOR=1 FORCE_COLOR=1 s2 read $B/missing", code=3)[1]


def test_no_secret_is_in_a_traceback(sh):
    for debug in ("", "S2_DEBUG=1 "):
        out, err = sh(f"S2_ACCESS_TOKEN=s3cr3t-token S2_ENCRYPTION_KEY=s3cr3t-key {debug}s2 read $B/missing", code=2)
        assert "s3cr3t" not in out.decode() + err


# Formats: what goes out comes back


@pytest.mark.parametrize("form", ["jsonl", "json", "json-base64"])
def test_lossless_but_readable_output_comes_back_equal(sh, form):
    lines = [
        {"timestamp": 1, "headers": [["n", "v"], ["n", ""]], "body": "text\n\r\0\x7f ü"},
        {"timestamp": 2, "base64": True, "headers": [["/w==", "/w=="]], "body": "/wA="},
        {"timestamp": 3},
    ]
    sh("s2 append --format json $B/a", stdin="\n".join(map(json.dumps, lines)).encode())
    sh(f"s2 read $B/a -o {form} | s2 append --format {form} $B/b")
    assert sh(f"s2 read $B/b -o {form}") == sh(f"s2 read $B/a -o {form}")
