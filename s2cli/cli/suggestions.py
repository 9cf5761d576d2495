"""What was meant by a word that is not known: near spellings, and what other tools call it.

Only imported when something is wrong. A guess that is not near is worse than none.
"""

from __future__ import annotations

from s2cli.values import URI_PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


def near(typed: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """Which of `known` the typed word may have been meant to be, the nearest first: at most one wrong letter in a short
    word and two in a longer one, two exchanged letters counting as one, or the beginning of exactly one."""
    words = sorted(set(known) - {typed})
    bound = min(len(typed) // 3, 2)
    folded = typed.casefold()
    found = [(far, word) for word in words if (far := distance(folded, word.casefold(), bound)) <= bound]
    if not found and len(typed) >= 3:
        begun = [word for word in words if word.startswith(typed)]
        return begun if len(begun) == 1 else []
    return [word for _, word in sorted(found)[:most]]


def distance(one: str, other: str, bound: int) -> int:
    """How many letters to change, insert, leave out or exchange with the next one; past `bound`, any larger number."""
    if abs(len(one) - len(other)) > bound:
        return bound + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        line = [row]
        for column, there in enumerate(other, 1):
            cost = min(last[column] + 1, line[-1] + 1, last[column - 1] + (letter != there))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == there:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        if min(line) > bound:
            return bound + 1
        before, last = last, line
    return last[-1]


NOUNS = ("basins", "streams", "tokens")

# What people type, and what our verbs for it are.
VERBS = {
    "add": ("create", "issue"),
    "del": ("delete", "revoke"),
    "delete": ("delete", "revoke"),
    "describe": ("get",),
    "info": ("get",),
    "ls": ("list",),
    "mk": ("create",),
    "new": ("create", "issue"),
    "remove": ("delete", "revoke"),
    "rm": ("delete", "revoke"),
    "set": ("reconfigure",),
    "show": ("get",),
    "update": ("reconfigure",),
}

# What other tools call a command, and what to type here.
COMMANDS = {
    "apply": "s2 ensure URI creates or changes one thing; s2 lite --init-file takes many",
    "auth": "export S2_ACCESS_TOKEN=…, or --access-token-file FILE; s2 help environment",
    "cat": "did you mean s2 read?",
    "config": "settings are environment variables and profiles: s2 help environment",
    "consume": "did you mean s2 read --follow?",
    "diff": "s2 get URI -o json shows a configuration, for diff",
    "follow": "did you mean s2 tail -f?",
    "head": "did you mean s2 read -n 10?",
    "local": "it is an option: s2 --local COMMAND",
    "login": "export S2_ACCESS_TOKEN=…, or --access-token-file FILE; s2 help environment",
    "logout": "unset S2_ACCESS_TOKEN",
    "produce": "did you mean s2 append?",
    "publish": "did you mean s2 append?",
    "put": "did you mean s2 append?",
    "serve": "did you mean s2 lite?",
    "server": "did you mean s2 lite?",
    "start": "did you mean s2 lite?",
    "status": "did you mean s2 lite status?",
    "stop": "did you mean s2 lite stop?",
    "subscribe": "did you mean s2 read --follow?",
    "version": "did you mean s2 --version?",
    "watch": "did you mean s2 tail -f?",
    "write": "did you mean s2 append?",
}

_FROM = (("--from", "--from POSITION"), ("--expires-in", "--expires-in DURATION"))
_TO = (("--to", "--to POSITION"),)
_COUNT = (("--count", "-n, --count N"), ("--lines", "-n, --lines N"), ("--limit", "-n, --limit N"))
_TAIL = (("--from", "--from -N, or s2 tail"), ("--lines", "-n, --lines N"))
_JSON = (("--format", "-o json"), ("--output", "-o json"))
_KEY = (("-k", "a key does not belong in a command line: -k FILE, or export S2_ENCRYPTION_KEY=…"),)
_TOKEN = (("", "a token does not belong in a command line: --access-token-file FILE, or export S2_ACCESS_TOKEN=…"),)
_ENDPOINT = (("", "--account-endpoint URL and --basin-endpoint URL"),)
_ORDER = (("--from", "records come in the order of the stream; --from -N begins N before its end"),)
_NO_ORDER = (("", "lists are in the order of names"),)
_ONE_STORE = (("--bucket", "s2 lite keeps all of its data in one place: --data DIR or --bucket s3://NAME/PREFIX"),)
_NO_TLS = (("--data", "s2 lite serves http:// alone: put a proxy for TLS before it"),)
_NO_DASHBOARD = (("--data", "s2 lite has no dashboard"),)
_NO_BOUND = (("--data", "s2 lite has one bound for all that waits in memory"),)
_FILTER = (("--grep", "--grep REGEX, --header NAME=VALUE or --jq FILTER"),)
_DRY = (("", "there is no dry run"),)

# What other tools call an option -> for an option that the command has ("" for every command): what to type instead.
# The first that fits holds.
OPTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "--access-token": _TOKEN,
    "--after": (("--start-after", "--start-after NAME"), *_FROM),
    "--append-inflight-bytes": _NO_BOUND,
    "--before": _TO,
    "--begin": _FROM,
    "--count": _COUNT,
    "--debug": (("", "-v says more; S2_DEBUG=1 shows the traceback of a bug"),),
    "--desc": (*_ORDER, *_NO_ORDER),
    "--dry-run": _DRY,
    "--encryption-key": _KEY,
    "--end": _TO,
    "--endpoint": _ENDPOINT,
    "--file": (("--input", "-i FILE"), ("--output-file", "-O FILE")),
    "--filter": _FILTER,
    "--force": (("--yes", "-y, --yes"),),
    "--head": _COUNT,
    "--insecure": (("", "--ca-file FILE trusts the certificates in it"),),
    "--json": (("--input", "-o json for the account, --format json for the input"), *_JSON),
    "--jsonl": _JSON,
    "--key": _KEY,
    "--last": _TAIL,
    "--limit": _COUNT,
    "--lines": _COUNT,
    "--max": _COUNT,
    "--max-count": _COUNT,
    "--name": (("--no-headers", "-o name"),),
    "--no-dashboard": _NO_DASHBOARD,
    "--no-verify": (("", "--ca-file FILE trusts the certificates in it"),),
    "--null": (("--zero", "-0, --zero"),),
    "--offset": _FROM,
    "--path": _ONE_STORE,
    "--print0": (("--zero", "-0, --zero"),),
    "--retention": (("--retention-policy", "--retention-policy DURATION"),),
    "--regex": _FILTER,
    "--reverse": (*_ORDER, *_NO_ORDER),
    "--since": _FROM,
    "--size": _COUNT,
    "--sort": (*_ORDER, *_NO_ORDER),
    "--start": _FROM,
    "--tail": _TAIL,
    "--tls-cert": _NO_TLS,
    "--tls-key": _NO_TLS,
    "--tls-self": _NO_TLS,
    "--token": _TOKEN,
    "--ttl": (*_FROM[1:], ("--retention-policy", "--retention-policy DURATION")),
    "--until": _TO,
    "--url": _ENDPOINT,
    "--wait": (("--follow", "-f, --follow"),),
    "--wal-bucket": _ONE_STORE,
    "--where": _FILTER,
    "--wal-local-root": _ONE_STORE,
    "--watch": (("--follow", "-f, --follow"),),
}


def option_hint(typed: str, known: Collection[str]) -> str | None:
    """What to type instead of an option that a command with the options `known` does not have."""
    for option, text in OPTIONS.get(typed, ()):
        if option in known or not option:
            return f"did you mean {text}?" if text[0] == "-" else text
    if typed[1:].isdigit() and "--from" in known:
        return f"did you mean --from {typed}, or -n {typed[1:]}?"
    if not typed.startswith("--"):
        return None
    meant = near(typed[2:], [name[2:] for name in known if name.startswith("--")], most=1)
    return f"did you mean --{meant[0]}?" if meant else None


def noun_hint(words: Sequence[str], known: Collection[str]) -> str | None:
    """The hint for a noun behind its verb (`s2 list basins`) or in the singular: no basin has so short a name."""
    at = next((at for at, word in enumerate(words) if word[:1] != "-"), 0)
    first, second = (*words[at:], "", "")[:2]
    for verb, noun in (first, second), (second, first):
        group = noun.removesuffix("s") + "s"
        if group not in NOUNS or noun == first == group:
            continue
        for meant in VERBS.get(verb, (verb,)):
            if f"{group} {meant}" in known:
                return f"did you mean {_shown(['s2', *words[:at], group, meant, *words[at + 2 :]])}?"
    return None


# What may be secret of what somebody typed: it does not belong in a command line, and less so in what is logged of it.
_SECRET = ("token", "key", "password", "secret", "auth", "bearer")


def _shown(words: Sequence[str]) -> str:
    """A command line to copy, without what may be a secret."""
    from s2cli.values import shell_word

    shown: list[str] = []
    hides_next = False
    for word in words:
        name, equals, _ = word.partition("=")
        is_secret = name[:1] == "-" and (name[:2] == "-k" or any(part in name for part in _SECRET))
        if hides_next and word[:1] != "-":
            shown.append("…")
        elif is_secret and (equals or (name[:2] == "-k" != name)):
            shown.append(f"{name}=…" if equals else "-k…")
        else:
            shown.append(shell_word(word))
        hides_next = is_secret and not equals and (name[:2] != "-k" or name == "-k")
    return " ".join(shown)


def operand_hint(command: str, words: Sequence[str], extra: str) -> str | None:
    """What to type where `extra` is an unexpected argument of the command: a count is an option, and a basin and a
    stream are one URI."""
    from s2cli.values import shell_word

    if command == "tail" and any(hints := [count_hint(word) for word in words]):
        return next(filter(None, hints))
    numbers = [word for word in words if word.isascii() and word.isdigit()]
    uris = [word for word in words if word.startswith(URI_PREFIX)]
    if command in ("tail", "read") and len(numbers) == len(uris) == 1 and extra in (*numbers, *uris):
        return f"did you mean s2 {command} -n {numbers[0]} {shell_word(uris[0])}?"
    before = words[words.index(extra) - 1] if extra in words[1:] else ""
    basin = before.removeprefix(URI_PREFIX).removesuffix("/")
    if extra[:1] != "-" and URI_PREFIX not in extra and _is_basin(basin):
        stream = f"did you mean {shell_word(f'{URI_PREFIX}{basin}/{extra}')}?"
        if not _is_basin(extra) or command.startswith("streams "):
            return stream
        one_by_one = f"one basin at a time: s2 {command} {basin}, then s2 {command} {extra}"
        return one_by_one if command.startswith("basins ") else f"{one_by_one}; or {stream}"
    return "one basin or stream at a time" if command in ("create", "get", "ensure", "delete") else None


def count_hint(typed: str) -> str | None:
    """What to type instead of the +N of `tail -n +N`, which is not a count; None for anything else."""
    number = typed.removeprefix("+")
    if number == typed or not (number.isascii() and number.isdigit()):
        return None
    return f"to start at that record: s2 read --from {max(0, int(number) - 1)}; sequence numbers begin with 0"


def _is_basin(text: str) -> bool:
    from s2cli.errors import BadValueError
    from s2cli.wire.names import check_basin_name

    try:
        check_basin_name(text)
    except BadValueError:
        return False
    return True


def topic_hint(name: str, topics: Collection[str], commands: Collection[str]) -> str:
    """What to type instead of `s2 help NAME`."""
    meant = near(name, topics, most=1) or near(name, commands, most=1)
    if meant:
        return f"did you mean s2 help {meant[0]}?"
    return command_hint(name, commands) or f"topics: {', '.join(topics)}; commands: s2 --help"


def _turned_round(typed: str, known: Collection[str]) -> list[str]:
    """The commands of two words that a flat verb means: `tokens list` for `list-tokens` or `ls-token`."""
    verb, _, noun = typed.partition("-")
    nouns = [plural for plural in NOUNS if noun in (plural, plural.removesuffix("s"))]
    return [
        command for plural in nouns for word in VERBS.get(verb, (verb,)) if (command := f"{plural} {word}") in known
    ]


def command_hint(name: str, known: Collection[str]) -> str | None:
    """What to type instead of the command `name`, of one word or two, which none of `known` is."""
    group, blank, typed = name.rpartition(" ")
    if not group and typed in COMMANDS:
        return COMMANDS[typed]
    if typed.startswith(URI_PREFIX):
        if not group:
            return "a command comes first: s2 read URI prints the records of a stream"
        typed = "stream" if "/" in typed.removeprefix(URI_PREFIX) else "basin"  # what it is a name of
    verbs = VERBS.get(typed, (typed,))
    meant = [command for verb in verbs if (command := group + blank + verb) in known]
    if not meant and not group:
        meant = [command for noun in NOUNS for verb in verbs if (command := f"{noun} {verb}") in known]
    if not meant and not group:
        meant = _turned_round(typed, known)
    if not meant:
        words = [last for word in known for before, _, last in [word.rpartition(" ")] if before == group]
        meant = [group + blank + word for word in near(typed, words, most=1)]
    return f"did you mean {' or '.join(f's2 {command}' for command in meant)}?" if meant else None
