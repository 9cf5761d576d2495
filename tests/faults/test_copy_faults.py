"""`s2 copy` between two servers that are killed and restarted, and whose command is killed: the copy is identical."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time

from support.waiting import TIMEOUT_S, until

RECORDS = int(os.environ.get("COPY_FAULT_RECORDS", "120000"))
SEED = int(os.environ.get("COPY_FAULT_SEED", "6"))


def fill(run_s2, server, uri, count):
    """Records of all kinds, in pieces that differ."""
    dice = random.Random(SEED)
    for kind in range(3):
        lines = []
        for number in range(count // 3):
            record = {"body": f"{kind} {number} " + "x" * dice.choice((0, 10, 100, 400))}
            if kind == 1:
                record["headers"] = [["number", str(number)]]
            lines.append(json.dumps(record))
        text = "\n".join(lines).encode()
        run_s2("append", uri, "--create", "--format", "json", "-q", stdin=text, env=server.env(), check=True)


def digest_of(server, uri):
    """Of headers, timestamps and bodies; and how many there are."""
    command = [sys.executable, "-m", "s2cli", "read", uri, "-o", "json"]
    digest, count = hashlib.sha256(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **server.env()}) as process:
        for line in process.stdout:
            digest.update(line.partition(b",")[2])
            count += 1
    assert process.returncode == 0
    return digest.hexdigest(), count


def test_a_copy_through_restarts_of_both_servers_and_a_kill_of_the_command_is_identical(make_server, run_s2, home):
    near, far = make_server(), make_server(data=home / "far")
    servers = {"near": near, "far": far}
    (home / ".config/s2").mkdir(parents=True)
    (home / ".config/s2/profiles.toml").write_text(
        "".join(
            f'[{name}]\naccount_endpoint = "{server.url}"\nbasin_endpoint = "{server.url}"\n'
            for name, server in servers.items()
        )
    )
    dice = random.Random(SEED)
    fill(run_s2, near, "s2://near-basin/a", RECORDS)
    command = [sys.executable, "-m", "s2cli", "copy", "s2://near-basin/a", "s2://far-basin/a", "--create", "-o", "json"]
    command += ["--src-profile", "near", "--dst-profile", "far"]

    def copied():
        done = run_s2("check-tail", "s2://far-basin/a", "-o", "json", env=far.env(), timeout=TIMEOUT_S)
        return 0 if done.returncode else json.loads(done.stdout)["seq_num"]

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for server, kill_command in ((near, False), (far, True), (near, False), (far, False)):
        before = copied()
        until(lambda before=before, process=process: copied() > before or process.poll() is not None)
        server.kill()
        time.sleep(dice.uniform(0, 0.2))  # a random moment is what is tested
        if kill_command:
            process.kill()
            process.communicate()
        server.start()
        if kill_command:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, said = process.communicate(timeout=TIMEOUT_S * 6)
    assert process.returncode == 0, said
    assert json.loads(output)["outcome"] == "ok"
    assert digest_of(near, "s2://near-basin/a") == digest_of(far, "s2://far-basin/a")
    assert digest_of(far, "s2://far-basin/a")[1] == RECORDS // 3 * 3
