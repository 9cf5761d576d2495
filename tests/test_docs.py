"""The documents are true. Every block of README.md runs, here or (what installs the package) in .ci/run; the map of the
code, s2cli/README.md, is compared with the code."""

import importlib
import itertools
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.waiting import TIMEOUT_S
from test_layers import ALLOWED, SEAMS

from s2cli.cli import command_tree, option_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PACKAGE = ROOT / "s2cli"
MAP = (PACKAGE / "README.md").read_text()
BLOCKS = re.findall(r"(?:<!-- (.*?) -->\n)?```(\w+)\n(.*?)```", README, re.DOTALL)
# Marker -> who runs the blocks that have it. Those without are one script, top to bottom.
IN_THE_GATE = {"quick start", "test command", "install"}
HERE = {"", "cloud", "server", "client", "init file", "profiles", "root token", "tokens", "bucket"}


def blocks(marker: str, language: str = "sh") -> list[str]:
    found = [text for name, kind, text in BLOCKS if (name, kind) == (marker, language)]
    assert found, f"README.md has no {language} block with the marker {marker!r}"
    return found


@pytest.fixture
def home():
    """An empty home, with a path short enough for the socket of the profile `local`, whose server is stopped after."""
    with tempfile.TemporaryDirectory(prefix="s2-", dir="/tmp") as path:
        yield Path(path)
        run("s2 lite stop", Path(path), check=False)


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("S2_", "XDG_"))}
    return kept | {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(script: str, home: Path, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=home,
        env=environment(home) | extra,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
    )
    assert not check or done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture
def served(home):
    """The block of the server, running on a free port instead of the one that it names; gives that port."""
    (command,) = blocks("server")
    words = command.replace("--port 8080", "--port 0").split()
    with subprocess.Popen(words, cwd=home, env=environment(home), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            printed = [server.stdout.readline() for _ in range(3)]
            (port,) = set(re.findall(r"http://127\.0\.0\.1:(\d+)", "".join(printed)))
            yield port
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(TIMEOUT_S) == 0


def test_every_block_is_run_by_somebody():
    assert {name for name, _, _ in BLOCKS} == IN_THE_GATE | HERE
    gate = (ROOT / ".ci" / "run").read_text()
    for marker in IN_THE_GATE:
        assert re.search(rf"block '?{marker}'?\)", gate), f".ci/run does not run the block {marker!r}"
        assert len(blocks(marker)) == 1


def test_the_blocks_for_the_profile_local(home):
    done = run("\n".join(blocks("")), home)
    assert done.stdout.startswith("one\ntwo\nthree\ntwo\nthree\none\n3 @ ")
    assert "three\nfour\n" in done.stdout  # the follower
    assert "shop-basin/orders\n" in done.stdout
    assert (home / "s2.bash").stat().st_size > 0


def test_the_blocks_for_the_server(home, served):
    # In a shell that has gone through the blocks before.
    printed = run("\n".join(blocks("client")).replace("8080", served), home, S2_PROFILE="local").stdout
    assert "from curl\n" in printed
    assert printed.count('"body":"once"') == 1
    assert json.loads((home / "openapi.json").read_text())["openapi"]
    (python,) = blocks("client", "python")
    (home / "example.py").write_text(python.replace("8080", served))
    run(f"{sys.executable} example.py", home)
    url = f"http://127.0.0.1:{served}"
    read = "s2 read s2://demo-basin/demo"
    assert run(read, home, S2_ACCOUNT_ENDPOINT=url, S2_BASIN_ENDPOINT=url).stdout == "from curl\nfrom Python\n"


def test_the_blocks_for_access_tokens(home):
    (script,) = blocks("root token")
    make_token, command = script.splitlines()
    run(make_token, home)
    words = command.replace("--port 8080", "--port 0").split()
    with subprocess.Popen(words, cwd=home, env=environment(home), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().strip().partition("=")[2]
            (script,) = blocks("tokens")
            printed = run(script.replace("http://127.0.0.1:8080", url), home).stdout
            assert "hello\n" in printed
            assert "root" in printed
            assert (home / "writer.token").stat().st_size > 20
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(TIMEOUT_S) == 0


def test_the_block_for_a_bucket(home, s3_server):
    from support.s3_server import ACCESS_KEY, SECRET_KEY

    (script,) = blocks("bucket")
    script = script.replace("http://127.0.0.1:8333", s3_server.url).replace("--port 8080", "--port 0")
    for name, value in ("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY):
        script = script.replace(f"{name}=…", f"{name}={value}")
    *exports, command = script.splitlines()
    words = ["bash", "-euc", "\n".join([*exports, f"exec {command}"])]
    with subprocess.Popen(words, cwd=home, env=environment(home), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().strip().partition("=")[2]
            endpoints = {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}
            script = "s2 create s2://on-a-bucket; echo hello | s2 append --create s2://on-a-bucket/greetings"
            assert run(f"{script}; s2 read s2://on-a-bucket/greetings", home, **endpoints).stdout == "hello\n"
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(TIMEOUT_S) == 0


def test_the_init_file(home):
    (text,) = blocks("init file", "json")
    (home / "init.json").write_text(text)
    command = ["s2", "lite", "--memory", "--port", "0", "--init-file", "init.json"]
    with subprocess.Popen(command, cwd=home, env=environment(home), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().strip().partition("=")[2]
            endpoints = {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}
            assert '"infinite"' in run("s2 streams get s2://demo-basin/audit -o json", home, **endpoints).stdout
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(TIMEOUT_S) == 0


def test_the_block_for_the_cloud_against_a_stand_in(home, served):
    url = f"http://127.0.0.1:{served}"
    (script,) = blocks("cloud")
    script = script.replace("S2_ACCESS_TOKEN=…", "S2_ACCESS_TOKEN=secret")
    ambient = {"S2_PROFILE": "local", "S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url}
    assert run(script, home, **ambient).stdout.endswith("hello\n")


def test_the_block_for_profiles(home, served):
    (profiles,) = blocks("profiles", "toml")
    profiles = profiles.replace("https://s2.staging.example.com", f"http://127.0.0.1:{served}")
    (home / "token").write_text("secret\n")
    (home / ".config" / "s2").mkdir(parents=True)
    (home / ".config" / "s2" / "profiles.toml").write_text(
        profiles.replace("/run/secrets/s2-staging", str(home / "token"))
    )
    run("s2 --profile staging basins create staging-basin", home)
    assert run("s2 basins list -o name", home, S2_PROFILE="staging").stdout == "staging-basin\n"


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "proto/PROTOCOL.md", "s2cli/README.md"])
def test_what_a_document_links_to_exists(document):
    path = ROOT / document
    links = re.findall(r"\]\((?!http)(.*?)\)", path.read_text())
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings]


def test_the_commands_and_places_of_contributing_exist():
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", contributing, re.DOTALL))
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", contributing, flags=re.DOTALL))
    words = [word for text in (commands, *spans) for word in re.findall(r"[^\s'\"=]+", re.sub("#.*", "", text))]
    named = {word for word in words if re.fullmatch(r"\.?\w[\w.-]*/[\w./-]*(::\w+)?|[A-Z]+\.md|pyproject\.toml", word)}
    named = {word for word in named if not word.startswith(".venv/")}
    assert len(named) > 20
    for word in named:
        name, _, test = word.partition("::")
        assert (ROOT / name).exists(), word
        assert not test or f"def {test}(" in (ROOT / name).read_text(), word
    # What the environment has to have is what the extras bring.
    installed = {word.rpartition("/")[2] for word in words if word.startswith(".venv/bin/")}
    assert installed <= {"pip", "python", "s2", "pytest", "ruff", "mypy"}


def table(first_line: str) -> dict[str, list[str]]:
    """The rows of a table of the README by their first cell, without the marks for code."""
    lines = README[README.index(first_line) :].splitlines()[2:]
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    cells = [[cell.strip().replace("`", "") for cell in row.strip("|").split(" | ")] for row in rows]
    return {first: rest for first, *rest in cells}


def test_the_tables_of_the_readme_say_what_help_says():
    assert table("| Code | Meaning |") == {code: [text] for code, text in command_tree.EXIT_CODES.items()}
    assert table("| Variable | Meaning |") == {name: [text] for name, text in command_tree.ENVIRONMENT.items()}
    assert table("| What | Where |") == {name: [text] for name, text in command_tree.FILES.items()}
    assert table("| Format | `append` reads") == {name: [*texts] for name, texts in command_tree.RECORD_FORMATS.items()}
    assert table("| Verb | Meaning |") == {verb: [text] for verb, text in command_tree.TEMPLATE_VERBS.items()}
    assert table("| Modifier | Meaning |") == {name: [text] for name, text in command_tree.TEMPLATE_MODIFIERS.items()}
    assert table("| Member | Meaning |") == {name: [text] for name, text in command_tree.BENCH_RESULT.items()}
    assert table("| Format | Meaning |") == {name: [text] for name, text in command_tree.RESOURCE_FORMATS.items()}


# The flags of the official tool (0.43.4) for the commands that both have.
OFFICIAL_FLAGS = {
    "lite": "--bucket --local-root --path --tls-self --tls-cert --tls-key --port --no-cors --init-file "
    "--append-inflight-bytes --wal-bucket --wal-local-root --no-dashboard",
    "append": "--fencing-token -f --match-seq-num -m --format --input -i --linger --encryption-key -k "
    "--encryption-key-file --storage-class --retention-policy --timestamping-mode --timestamping-uncapped "
    "--delete-on-empty-min-age",
    "read": "--seq-num -s --timestamp --ago --tail-offset --count -n --bytes -b --clamp --until --format --output -o "
    "--encryption-key -k --encryption-key-file --storage-class --retention-policy --timestamping-mode "
    "--timestamping-uncapped --delete-on-empty-min-age",
    "tail": "--lines -n --follow -f --format --output -o --encryption-key -k --encryption-key-file",
    "bench": "--storage-class -c --record-size -b --target-mibps -t --duration -d --catchup-delay -w",
    "trim": "--fencing-token -f --match-seq-num -m",
    "fence": "--fencing-token -f --match-seq-num -m",
    "ls": "--prefix -p --start-after -s --limit -n --no-auto-paginate",
    "list-basins": "--prefix -p --start-after -s --limit -n --no-auto-paginate",
    "list-streams": "--prefix -p --start-after -s --limit -n --no-auto-paginate",
    "list-access-tokens": "--prefix -p --start-after -s --limit -n --no-auto-paginate",
    "create-basin": "--location --storage-class --retention-policy --timestamping-mode --timestamping-uncapped "
    "--delete-on-empty-min-age --stream-cipher --create-stream-on-append --create-stream-on-read",
    "issue-access-token": "--expires-in --expires-at --auto-prefix-streams --basins-prefix --basins-exact "
    "--streams-prefix --streams-exact --access-tokens-prefix --access-tokens-exact --op-group-perms --ops",
    "get-account-metrics": "--start-timestamp --start-ago --end-timestamp --end-ago --interval",
}


def test_the_readme_lists_the_rows_of_the_comparison():
    table = README.partition("| Row | What is measured |")[2].partition("\n\n")[0]
    listed = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:]))
    assert listed == list(runpy.run_path(str(ROOT / "tests/bench/compare.py"))["ROWS"])


def test_the_readme_names_every_flag_of_the_official_tool_that_is_not_there():
    lines = README[README.index("| Command | Flags that are not there") :].partition("\n\n")[0].splitlines()[2:]
    named = set()
    for line in lines:
        commands, flags, _ = line.strip("|").split(" | ")
        named |= {(c, f) for c in re.findall(r"`([a-z-]+)`", commands) for f in re.findall(r"`(--[a-z-]+)`", flags)}
    there = {c.name: {flag for o in c.options for flag in o.flags} for c in option_table.read_commands()}
    missing = {(c, f) for c, flags in OFFICIAL_FLAGS.items() for f in flags.split() if f not in there[c]}
    assert named == missing


def section(heading: str) -> str:
    """The text below a heading of the map, up to the next one of its rank."""
    mark = heading.partition(" ")[0]
    return MAP.partition(f"\n{heading}\n")[2].partition(f"\n{mark} ")[0]


def fenced(text: str) -> list[str]:
    (block,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    return block.splitlines()


def rows(text: str) -> list[list[str]]:
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return [cells for cells in found if not set(cells[0]) <= set("|-: ")][1:]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_map_lists_every_module_with_a_question():
    listed, folders = {}, []
    for line in fenced(section("## 1. What is where")):
        indent, name, text = re.fullmatch(r"( *)(\S+) +(\S.*)", line).groups()
        folders = folders[: len(indent) // 2]
        if name.endswith("/"):
            folders.append(name)
        elif name != "#":
            assert len(indent) == 2 * len(folders), line
            listed["".join([*folders, name])] = text
    there = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" or path.stat().st_size
    }
    assert set(listed) == there
    assert len(set(listed.values())) == len(listed)
    assert [name for name, text in listed.items() if "?" not in text and "Generated" not in text] == []


def test_the_map_says_who_may_import_whom():
    told = {}
    libraries = section("## 4. Who may import whom")
    for parts, targets, _ in rows(libraries):
        told |= {part: set(names_in(targets)) for part in names_in(parts)}
    assert told == ALLOWED
    named = set(names_in(libraries.rpartition("|\n")[2]))
    assert named == {*SEAMS, *(place for places in SEAMS.values() for place in places)}


SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "s": 1, "": 1}


def test_the_bounds_in_the_map_are_those_of_the_code():
    module, checked = "", 0
    for line in fenced(section("### Bounds")):
        module = line.split()[0] if line[0] != " " else module
        path, _, owner = module.rpartition(".") if module.rpartition(".")[2][0].isupper() else (module, "", "")
        holder = importlib.import_module(f"s2cli.{path}")
        holder = getattr(holder, owner) if owner else holder
        for entry in line.removeprefix(module).strip().strip(",").split(", "):
            name, power, number, unit = re.fullmatch(r"(\w+) (2\^)?([\d.]+) ?(\w*)", entry).groups()
            value = 2 ** int(number) if power else float(number) * SIZES[unit]
            assert getattr(holder, name) == value, f"{module}.{name}"
            checked += 1
    assert checked > 50


def test_the_map_names_files_that_are_there_and_answers_that_are_in_them():
    def text_of(name: str) -> str:
        path = PACKAGE / name
        assert path.exists(), name
        return path.read_text() if path.is_file() else ""

    for name in re.findall(r"`((?:[\w.]+/)+[\w.]*|\w+\.py)`", MAP):
        bases = PACKAGE, ROOT, PACKAGE / "server" / "store" / "sqlite"
        assert any((base / name).exists() or (base / f"{name}.py").exists() for base in bases), name
    parts = re.split(r"^### .*$", section("## 6. Where do I …?"), flags=re.MULTILINE)
    answers = [row for part in parts for row in rows(part)]
    assert len(answers) >= 50
    for question, places, things in answers:
        assert question.endswith("?")
        text = "".join(text_of(name) for name in names_in(places + things) if "/" in name or name.endswith(".py"))
        for thing in names_in(things):
            assert "/" in thing or re.search(rf"^ *(async def|def|class)? ?{thing}\b", text, re.MULTILINE), (
                question,
                thing,
            )
