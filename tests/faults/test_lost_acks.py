"""No loss, no silent duplicate, a true account: an append whose server dies, whose connections are cut and whose bytes
arrive late."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.waiting import TIMEOUT_S, until

TURNS = 20


def numbered(number):
    """A block of lines that are all different."""
    return b"".join(b"line %d of block %d\n" % (line, number) for line in range(300))


def lines_in(ranges):
    return {line for first, last in ranges for line in range(first, last + 1)}


def test_kill_9_of_the_server_loses_and_repeats_nothing(server, unique_basin, start_append, read_lines_of):
    uri = f"s2://{unique_basin()}/stream"
    dice = random.Random(9)
    append = start_append(uri, server.env(), "--create")
    append.feed_on_and_on(numbered)
    append.wait_for("created")
    for turn in range(TURNS):
        time.sleep(dice.uniform(0, 0.3))  # a random moment is what is tested
        server.kill()
        server.start()
        append.wait_for("connected again", turn + 1)
    code, account, lines = append.finish()
    assert code == 0, append.said
    assert read_lines_of(server, uri) == lines
    assert account["durable"] == account["read"] == account["sent"] == len(lines)
    assert (account["first_seq_num"], account["last_seq_num"]) == (0, len(lines) - 1)
    assert account["repeated_lines"] == []
    looks = [line for line in append.said if line.startswith("checked ")]
    assert len(looks) >= 15, "too few of the kills hit batches that were under way"


def test_bytes_that_arrive_after_the_client_came_back_are_refused(
    shared_server, basin, start_append, make_proxy, read_lines_of
):
    uri = f"s2://{basin}/stream"
    shared_server.create_stream(basin)
    proxy = make_proxy(shared_server)
    dice = random.Random(7)
    append = start_append(uri, proxy.env())
    append.feed_on_and_on(numbered)
    late_bytes = turns = 0
    while turns < TURNS:
        # An append session that runs, and then one whose bytes no longer get through…
        until(lambda: proxy.links and proxy.links[-1].session_passed > 20_000)
        links = len(proxy.links)
        link = proxy.links[-1]
        link.hold()
        until(lambda link=link, links=links: link.held_bytes > 20_000 or len(proxy.links) > links)
        if len(proxy.links) > links:
            continue  # what arrived late in the turn before has made it connect again
        link.cut(keep=True)
        proxy.wait_for_link(links + 1)
        if turns % 2:
            until(lambda: proxy.links[-1].session_passed > 20_000)  # back in full
        time.sleep(dice.uniform(0, 0.01))
        late_bytes += link.deliver()  # … arrive when the client is back
        turns += 1
    code, account, lines = append.finish()
    assert code == 0, append.said
    assert late_bytes > TURNS * 10_000
    assert read_lines_of(shared_server, uri) == lines
    assert account["durable"] == len(lines)
    assert account["repeated_lines"] == []


@pytest.mark.parametrize("arrives", [True, False], ids=["arrives", "is-lost"])
def test_the_same_file_twice_with_a_cut_before_the_first_ack(
    shared_server, basin, start_append, make_proxy, read_lines_of, run_s2, arrives
):
    uri = f"s2://{basin}/stream"
    shared_server.create_stream(basin)
    data = numbered(0) * 5
    assert run_s2("append", uri, stdin=data, env=shared_server.env()).returncode == 0
    proxy = make_proxy(shared_server)
    append = start_append(uri, proxy.env())
    link = proxy.wait_for_link(1)
    until(lambda: link.answered > 0)  # where the tail is
    link.mute.set()
    if not arrives:
        link.hold()
    append.feed(data)
    until(lambda: link.passed + link.held_bytes > len(data))
    if arrives:
        tail = "/v1/streams/stream/records/tail"
        durable = 2 * data.count(b"\n")
        until(lambda: shared_server.request("GET", tail, basin=basin).json()["tail"]["seq_num"] == durable)
    link.cut(keep=False)
    code, account, lines = append.finish()
    assert code == 0, append.said
    assert read_lines_of(shared_server, uri) == 2 * lines
    assert (account["durable"], account["first_seq_num"]) == (len(lines), len(lines))
    assert any("whose acks were lost" in line for line in append.said)
    assert lines_in(account.get("recognized_lines", [])) == (set(range(1, len(lines) + 1)) if arrives else set())


@pytest.mark.parametrize("same", [True, False], ids=["equal-lines", "different-lines"])
def test_two_writers_through_cuts_lose_nothing_and_name_what_is_repeated(
    shared_server, basin, start_append, make_proxy, read_lines_of, same
):
    uri = f"s2://{basin}/stream"
    shared_server.create_stream(basin)
    proxies = [make_proxy(shared_server) for _ in range(2)]
    appends = [start_append(uri, proxy.env()) for proxy in proxies]
    for name, append in zip(b"ab", appends, strict=True):
        append.feed_on_and_on(
            (lambda number: b"same\n" * 20) if same else (lambda number, name=name: b"%c%d\n" % (name, number))
        )
    dice = random.Random(5)

    def accident(proxy):
        until(lambda: proxy.links and proxy.links[-1].session_passed)
        time.sleep(dice.uniform(0, 0.2))  # a random moment is what is tested
        links = len(proxy.links)
        link = proxy.links[-1]
        link.hold()
        until(lambda: link.held_bytes or len(proxy.links) > links)  # or the other writer made it connect again
        link.cut(keep=dice.random() < 0.5)
        proxy.wait_for_link(links + 1)
        link.deliver()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(accident, proxies * 6))
    endings = [append.finish() for append in appends]
    for append, (code, account, lines) in zip(appends, endings, strict=True):
        assert code == 0, append.said
        assert account["durable"] == len(lines)
    found = read_lines_of(shared_server, uri)
    if same:
        fed = sum(len(lines) for _, _, lines in endings)
        repeated = sum(len(lines_in(account["repeated_lines"])) for _, account, _ in endings)
        recognized = sum(len(lines_in(account.get("recognized_lines", []))) for _, account, _ in endings)
        assert len(found) == fed or (len(found) > fed and repeated) or fed - recognized <= len(found) < fed
        return
    counts: dict[bytes, int] = {}
    for line in found:
        counts[line] = counts.get(line, 0) + 1
    for _, account, lines in endings:
        named = lines_in(account["repeated_lines"])
        for number, line in enumerate(lines, 1):
            assert counts[line] == 1 or (counts[line] > 1 and number in named), (number, line)


def test_a_server_of_our_own_that_dies_is_started_again(start_append, run_s2, unique_basin):
    from s2cli.client.local import data_dir, read_note

    uri = f"s2://{unique_basin()}/stream"
    append = start_append(uri, {}, "--local", "--create")
    append.feed(b"before\n")
    append.wait_for("created")
    until(lambda: run_s2("--local", "read", uri).stdout == b"before\n")
    first = int(read_note(data_dir())["pid"])
    os.kill(first, signal.SIGKILL)
    append.feed(b"after\n")
    code, account, lines = append.finish()
    assert code == 0, append.said
    assert account["durable"] == 2
    assert run_s2("--local", "read", uri).stdout.splitlines() == lines
    assert int(read_note(data_dir())["pid"]) != first


@pytest.mark.parametrize("moment", ["admitted", "committed"])
def test_a_server_that_dies_at_the_worst_moment(
    moment, make_server, start_append, read_lines_of, unique_basin, tmp_path
):
    command = [sys.executable, Path(__file__).with_name("mortal_server.py"), tmp_path / "data", moment, "7"]
    mortal = subprocess.Popen(command, stdout=subprocess.PIPE)
    port = int(mortal.stdout.readline())
    url = f"http://127.0.0.1:{port}"
    uri = f"s2://{unique_basin()}/stream"
    append = start_append(uri, {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}, "--create")
    append.feed_on_and_on(numbered)
    assert mortal.wait(TIMEOUT_S) == -signal.SIGKILL
    mortal.stdout.close()
    server = make_server(data=tmp_path / "data", port=port)
    append.wait_for("connected again")
    code, account, lines = append.finish()
    assert code == 0, append.said
    assert read_lines_of(server, uri) == lines
    assert (account["durable"], account["repeated_lines"]) == (len(lines), [])
    assert any("whose acks were lost" in line for line in append.said)
    # What was committed and not told is found, and not sent again.
    assert bool(account.get("recognized_lines")) or moment == "admitted"


def test_an_acknowledgement_that_is_half_sent_is_none(shared_server, basin, make_proxy, start_append, read_lines_of):
    uri = f"s2://{basin}/stream"
    shared_server.create_stream(basin)
    proxy = make_proxy(shared_server)
    append = start_append(uri, proxy.env())
    until(lambda: proxy.links)
    append.feed(numbered(0))
    tail = "/v1/streams/stream/records/tail"
    until(lambda: shared_server.request("GET", tail, basin=basin).json()["tail"]["seq_num"] == 300)
    link = proxy.links[0]
    until(lambda: link.acked_records() == 300)
    link.answer_at_most = link.answered + 15  # the size of a chunk, and some bytes of the frame in it
    append.feed(numbered(1))
    until(lambda: link.mute.is_set())
    link.cut(keep=False)
    code, account, lines = append.finish()
    assert code == 0, append.said
    assert read_lines_of(shared_server, uri) == lines
    assert account["durable"] == len(lines)
