"""`s2 lite backup` and `s2 lite restore`, of servers that run and of data that nobody serves."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
from support.waiting import TIMEOUT_S

from s2cli.server.data_directory import LockedDirectory


class Lite:
    """`s2 lite` as a person starts it: with a socket for its owner."""

    def __init__(self, directory, *options, env=None):
        self.directory = directory
        command = [sys.executable, "-m", "s2cli", "lite", "-q", "--port", "0", "--data", directory, *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **(env or {})})
        lines = [self._process.stdout.readline().decode().removeprefix("export ").strip() for _ in range(3)]
        self.environment = dict(line.split("=", 1) for line in lines)
        self.url = self.environment["S2_ACCOUNT_ENDPOINT"]

    def env(self):
        return self.environment

    def stop(self):
        self._process.terminate()
        self._process.communicate(timeout=TIMEOUT_S)
        return self._process.returncode

    def close(self):
        self._process.kill()
        self._process.communicate(timeout=TIMEOUT_S)


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda *options, directory=tmp_path / "data", env=None: stack.enter_context(
            contextlib.closing(Lite(directory, *options, env=env))
        )


@pytest.fixture
def fill(run_s2):
    def run(server, basin="kept-basin", lines=5000):
        env = server.env()
        run_s2("create", basin, env=env, check=True)
        data = b"".join(b"line %d\n" % number for number in range(lines))
        run_s2("append", "--create", f"s2://{basin}/lines", stdin=data, env=env, check=True)
        return data

    return run


@pytest.fixture
def read(run_s2):
    return lambda server, uri="s2://kept-basin/lines": run_s2("read", uri, env=server.env(), check=True).stdout


def test_of_a_running_server_and_back(start, fill, read, run_s2, tmp_path):
    server = start()
    data = fill(server)
    done = run_s2("lite", "backup", tmp_path / "backup", "--data", server.directory, "-o", "json", check=True)
    facts = json.loads(done.stdout)
    assert server.stop() == 0
    backup = tmp_path / "backup"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700
    assert {path.name for path in backup.iterdir()} == {"s2.db", "manifest.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in backup.iterdir()} == {0o600}
    assert facts["files"]["s2.db"]["sha256"] == hashlib.sha256((backup / "s2.db").read_bytes()).hexdigest()
    restored = tmp_path / "restored"
    told = run_s2("lite", "restore", backup, "--data", restored, check=True)
    assert b"1 streams, 5000 records" in told.stderr
    again = start(directory=restored)
    assert read(again) == data


def test_of_data_that_nobody_serves(start, fill, read, run_s2, tmp_path):
    server = start()
    data = fill(server)
    server.close()  # its log is not empty
    files = [server.directory / name for name in ("s2.db", "s2.db-wal")]
    before = [path.read_bytes() for path in files]
    run_s2("lite", "backup", tmp_path / "backup", "--data", server.directory, check=True)
    assert [path.read_bytes() for path in files] == before
    run_s2("lite", "restore", tmp_path / "backup", "--data", tmp_path / "restored", check=True)
    assert read(start(directory=tmp_path / "restored")) == data


def test_of_the_profile_local(run_s2, home, tmp_path):
    run_s2("--local", "create", "kept-basin", check=True)
    run_s2("--local", "append", "--create", "s2://kept-basin/lines", stdin=b"one\n", check=True)
    run_s2("lite", "backup", tmp_path / "backup", check=True)
    run_s2("--local", "append", "s2://kept-basin/lines", stdin=b"two\n", check=True)
    refused = run_s2("lite", "restore", tmp_path / "backup", "--yes")
    assert refused.returncode == 1
    assert b"in use by another server" in refused.stderr
    run_s2("lite", "stop", check=True)
    run_s2("lite", "restore", tmp_path / "backup", "--yes", check=True)
    assert run_s2("--local", "read", "s2://kept-basin/lines", check=True).stdout == b"one\n"


def test_appends_go_on_meanwhile_and_what_was_acked_before_is_in_it(start, fill, read, run_s2, tmp_path):
    server = start()
    fill(server, lines=200_000)
    env = server.env()
    ended = threading.Event()
    acked: list[int] = []

    def append():
        number = 0
        while not ended.is_set():
            body = json.dumps({"records": [{"body": f"{number} " + "x" * 3000}]}).encode()
            request = urllib.request.Request(
                f"{server.url}/v1/streams/beside/records",
                data=body,
                headers={"s2-basin": "kept-basin", "content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                assert answer.status == 200
            acked.append(number)
            number += 1

    run_s2("create", "s2://kept-basin/beside", env=env, check=True)
    thread = threading.Thread(target=append)
    thread.start()
    try:
        for number in range(3):
            before = len(acked)
            run_s2("lite", "backup", tmp_path / f"backup-{number}", "--data", server.directory, check=True)
            run_s2(
                "lite", "restore", tmp_path / f"backup-{number}", "--data", tmp_path / f"restored-{number}", check=True
            )
            again = start(directory=tmp_path / f"restored-{number}")
            numbers = [int(line.split()[0]) for line in read(again, "s2://kept-basin/beside").splitlines()]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) >= before
            assert read(again).count(b"\n") == 200_000
            again.close()
    finally:
        ended.set()
        thread.join(TIMEOUT_S)
    assert server.stop() == 0


def test_with_the_key_of_the_access_tokens(start, run_s2, tmp_path):
    root = {"S2_ROOT_TOKEN": "root-token-of-a-test"}
    server = start(env=root)
    as_root = {**server.env(), "S2_ACCESS_TOKEN": root["S2_ROOT_TOKEN"]}
    issued = run_s2("tokens", "issue", "reader", "--op-group-perms", "account=r", env=as_root, check=True).stdout
    run_s2("lite", "backup", tmp_path / "backup", "--data", server.directory, check=True)
    assert {path.name for path in (tmp_path / "backup").iterdir()} == {"s2.db", "token.key", "manifest.json"}
    run_s2("lite", "restore", tmp_path / "backup", "--data", tmp_path / "restored", check=True)
    again = start(directory=tmp_path / "restored", env=root)
    run_s2("basins", "list", env={**again.env(), "S2_ACCESS_TOKEN": issued.decode().strip()}, check=True)


def test_a_place_that_is_not_empty(start, fill, run_s2, tmp_path):
    server = start()
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "mine").write_text("mine")
    refused = run_s2("lite", "backup", tmp_path / "backup", "--data", server.directory)
    assert refused.returncode == 5, refused
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["mine"]
    for words in ("backup",), ("restore",), ("status", "extra"):
        assert run_s2("lite", *words, "--data", server.directory).returncode == 2
    missing = run_s2("lite", "backup", tmp_path / "other", "--data", tmp_path / "nothing")
    assert missing.returncode == 3
    assert not (tmp_path / "other").exists()


@pytest.fixture
def backup(start, fill, run_s2, tmp_path):
    server = start(directory=tmp_path / "original")
    fill(server)
    run_s2("lite", "backup", tmp_path / "backup", "--data", server.directory, check=True)
    assert server.stop() == 0
    return tmp_path / "backup"


def test_data_is_replaced_only_if_asked_to(backup, start, fill, read, run_s2, tmp_path):
    server = start()
    other = fill(server, lines=3)
    refused = run_s2("lite", "restore", backup, "--data", server.directory, "--yes")
    assert refused.returncode == 1
    server.close()
    refused = run_s2("lite", "restore", backup, "--data", server.directory)
    assert refused.returncode == 2
    assert b"--yes" in refused.stderr
    server = start()
    assert read(server) == other
    server.close()
    run_s2("lite", "restore", backup, "--data", server.directory, "--yes", check=True)
    assert read(start()).count(b"\n") == 5000


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_backup_that_has_changed_is_not_restored(backup, start, fill, read, run_s2, tmp_path):
    server = start()
    other = fill(server, lines=3)
    assert server.stop() == 0
    flip(backup / "s2.db", 50_000)
    refused = run_s2("lite", "restore", backup, "--data", server.directory, "--yes")
    assert refused.returncode == 8, refused
    assert b"it has changed" in refused.stderr
    assert read(start()) == other


def test_a_backup_of_damaged_data_is_not_restored(backup, run_s2, tmp_path):
    """Also where the manifest agrees with it."""
    path = backup / "s2.db"
    data = path.read_bytes()
    at = data.index(b"line 4321")
    path.write_bytes(data[:at] + b"LINE" + data[at + 4 :])
    manifest = json.loads((backup / "manifest.json").read_text())
    manifest["files"]["s2.db"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (backup / "manifest.json").write_text(json.dumps(manifest))
    refused = run_s2("lite", "restore", backup, "--data", tmp_path / "restored")
    assert refused.returncode == 8, refused
    assert b"wrong checksum" in refused.stderr
    assert not (tmp_path / "restored" / "s2.db").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format":1,"files":{"s2.db":{},"../x":{}}}', '{"format":9}'])
def test_what_is_no_manifest(backup, run_s2, tmp_path, text):
    (backup / "manifest.json").write_text(text)
    assert run_s2("lite", "restore", backup, "--data", tmp_path / "restored").returncode == 8
    (backup / "manifest.json").unlink()
    assert run_s2("lite", "restore", backup, "--data", tmp_path / "restored").returncode == 3


@pytest.mark.parametrize("moved", [(), ("token.key",), ("token.key", "s2.db")])
def test_a_restore_that_was_interrupted_is_finished_by_the_next_server(backup, start, fill, read, tmp_path, moved):
    server = start()
    fill(server, lines=3)
    server.close()
    restored = server.directory / "restored"
    restored.mkdir()
    shutil.copy(backup / "s2.db", restored / "s2.db")
    (restored / "token.key").write_bytes(b"k" * 32)
    if moved:
        (server.directory / "s2.db-wal").unlink()
    for name in moved:
        (restored / name).rename(server.directory / name)
    assert read(start()).count(b"\n") == 5000
    assert (server.directory / "token.key").read_bytes() == b"k" * 32
    assert not restored.exists()


def test_a_copy_of_a_backup_needs_no_check(backup, start, read, run_s2, tmp_path):
    shutil.copytree(backup, tmp_path / "elsewhere")
    run_s2("lite", "restore", tmp_path / "elsewhere", "--data", tmp_path / "restored", check=True)
    assert read(start(directory=tmp_path / "restored")).count(b"\n") == 5000


def test_a_copy_is_made_for_the_owner_alone(start, fill, tmp_path):
    server = start()
    request = urllib.request.Request(f"{server.url}/lite/copy?path={tmp_path}/x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=TIMEOUT_S)
    with contextlib.closing(refused.value):
        assert refused.value.code == 404
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("place", ["missing/x", "open/x", "data/LOCK", "x%00y", "x%00/y", "x&path=y", "relative"])
def test_places_that_a_copy_is_refused_in(start, run_s2, tmp_path, place):
    server = start()
    (tmp_path / "open").mkdir(mode=0o755)
    path = place if place == "relative" else f"{tmp_path}/{place}"
    socket = re.search(r"socket +(\S+)", run_s2("lite", "status", "--data", server.directory).stdout.decode())[1]
    done = subprocess.run(
        ["curl", "-s", "--unix-socket", socket, "-X", "POST", f"http://localhost/lite/copy?path={path}"],
        capture_output=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    assert json.loads(done.stdout)["code"] in ("invalid", "resource_already_exists"), done


@pytest.mark.parametrize("is_running", [True, False])
def test_a_backup_keeps_the_note_of_a_loss(start, fill, run_s2, tmp_path, is_running):
    server = start()
    fill(server)
    server.close()
    (server.directory / "s2.db-wal").unlink()
    if is_running:
        server = start()
    done = run_s2("lite", "backup", tmp_path / "backup", "--data", server.directory, "-o", "json", check=True)
    assert b"has lost records that were confirmed" in done.stderr
    assert "s2.db-loss" in json.loads(done.stdout)["files"]
    run_s2("lite", "restore", tmp_path / "backup", "--data", tmp_path / "restored", check=True)
    restored = start(directory=tmp_path / "restored")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{restored.url}/health", timeout=TIMEOUT_S)
    assert (refused.value.code, refused.value.read().decode().partition(":")[0]) == (
        503,
        "records that were confirmed are missing",
    )
    restored.stop()
    run_s2("lite", "repair", "--data", tmp_path / "restored", check=True)
    assert run_s2("lite", "check", "--data", tmp_path / "restored").returncode == 0


def test_a_note_of_a_loss_is_there_wherever_a_restore_is_interrupted(tmp_path):
    """After each of its steps the next one begins anew."""
    note = b'{"reason": "something", "records": 1048576}'
    for moved in (), ("s2.db",), ("token.key", "s2.db"):
        directory = tmp_path / f"data-{len(moved)}"
        (directory / "restored").mkdir(parents=True)
        (directory / "s2.db-wal").touch()
        for name, content in ("token.key", b"key"), ("s2.db", b"database"), ("s2.db-loss", note):
            (directory / ("" if name in moved else "restored") / name).write_bytes(content)
        LockedDirectory(directory).release()
        assert sorted(path.name for path in directory.iterdir()) == ["LOCK", "s2.db", "s2.db-loss", "token.key"]
        assert (directory / "s2.db-loss").read_bytes() == note
