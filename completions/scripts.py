"""The completion scripts for bash, zsh and fish, made from the declarations of the commands.

They are static: a TAB starts no Python and asks no network. Hidden commands and options are completed by none.
"""

from __future__ import annotations

from s2cli.cli import command_tree, help_pages, option_table
from s2cli.cli.typer_app import PROGRAM, shown_flags
from s2cli.endpoints import LOCAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from s2cli.cli.option_table import Command, Operand, Option

HEAD = f"# Completion of {PROGRAM} for {{}}. Made by completions/generate; do not edit.\n"
HELP_FLAGS = ("-h", "--help")


def script(shell: str) -> str:
    """The text of the completion script."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _commands() -> list[Command]:
    return [command for command in option_table.read_commands() if command.help or command.name.startswith("records ")]


def _first_words() -> list[tuple[str, str]]:
    """What may stand where a command is expected, with its help. Not `records`, which help does not name either: beside
    it `re` would not become `read`."""
    words = [(command.name, command.help) for command in _commands() if " " not in command.name]
    return words + [(group, text) for group, text in command_tree.GROUPS.items() if group != "records"]


def _help_words() -> list[tuple[str, str]]:
    """What may stand behind `s2 help`, with its help."""
    return [(topic, f"s2 help {topic}") for topic in help_pages.TOPICS] + _first_words()


def _second_words(group: str) -> list[tuple[str, str]]:
    helps = {declaration: line for _, declaration, line in command_tree.COMMANDS.values() if line}
    return [
        (command.name.partition(" ")[2], helps[command_tree.COMMANDS[command.name][1]])
        for command in _commands()
        if command.name.startswith(group + " ")
    ]


def _shown(options: Iterable[Option]) -> list[Option]:
    """What is advertised of the options: none that is hidden, and no letter of the official tool."""
    return [
        option._replace(flags=shown_flags(option.parameter, option.flags)) for option in options if not option.hidden
    ]


def _values(taker: Option | Operand) -> str:
    """What may follow: words to choose from, "<file>", "<dir>", or nothing that could be named."""
    if isinstance(taker.kind, tuple):
        return " ".join(taker.kind)
    if taker.parameter == "profile":
        return LOCAL
    if taker.parameter == "unset":
        return taker.help.rpartition(": ")[2].replace(",", "")
    if taker.metavar == "FORMAT":
        return "text json json-base64"
    return {"FILE": "<file>", "DIR": "<dir>", "BOOL": "true false"}.get(taker.metavar, "")


def _operand_values(command: Command) -> str:
    return " ".join(_values(operand) for operand in command.operands).strip()


# --- bash


def _bash() -> str:
    every = _shown(option_table.read_global_options())
    lines = [
        HEAD.format("bash"),
        "# The flags of a command.",
        "_s2_flags() {",
        '    case "$1" in',
        *(f'        "{command.name}") echo "{" ".join(_flags(command.options))}" ;;' for command in _commands()),
        "    esac",
        f'    echo "{" ".join([*_flags(every), *HELP_FLAGS])}"',
        "}",
        "",
        "# What follows a flag of a command: words, <file>, <dir>, - for what nobody can name; empty for a switch.",
        "_s2_values() {",
        '    case "$1 $2" in',
    ]
    for command in _commands():
        lines += _bash_values(command.options, command.name)
    lines += ["    esac", '    case "$2" in', *_bash_values(every, ""), "    esac", "}", ""]
    lines += ["# The operands of a command, as far as they can be named.", "_s2_operands() {", '    case "$1" in']
    lines += [
        f'        "{command.name}") echo "{_operand_values(command)}" ;;'
        for command in _commands()
        if _operand_values(command)
    ]
    lines.append(f'        "") echo "{" ".join(word for word, _ in _first_words())}" ;;')
    lines += [
        f'        {group}) echo "{" ".join(word for word, _ in _second_words(group))}" ;;'
        for group in command_tree.GROUPS
    ]
    lines.append(f'        help) echo "{" ".join(word for word, _ in _help_words())}" ;;')
    lines += ["    esac", "}", "", _BASH_FUNCTION]
    return "\n".join(lines)


def _bash_values(options: Iterable[Option], command: str) -> list[str]:
    lines = []
    for option in _shown(options):
        if not isinstance(option.kind, bool):
            names = "|".join(f'"{command} {flag}"' if command else f'"{flag}"' for flag in option.flags)
            values = _values(option) or "-"
            lines.append(f'        {names}) echo "{values}"; return ;;')
    return lines


def _flags(options: Iterable[Option]) -> list[str]:
    return [flag for option in _shown(options) for flag in option.flags]


_BASH_FUNCTION = f"""\
_s2_completion() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="" command="" word="" values="" at
    # bash splits --flag=value at the =.
    if [[ $current == "=" ]]; then
        current="" previous="${{COMP_WORDS[COMP_CWORD - 1]}}"
    elif (( COMP_CWORD >= 2 )) && [[ ${{COMP_WORDS[COMP_CWORD - 1]}} == "=" ]]; then
        previous="${{COMP_WORDS[COMP_CWORD - 2]}}"
    else
        previous="${{COMP_WORDS[COMP_CWORD - 1]}}"
    fi
    for (( at = 1; at < COMP_CWORD; at++ )); do
        word="${{COMP_WORDS[at]}}"
        if [[ $word == -* ]]; then
            if [[ -n $(_s2_values "$command" "$word") ]]; then
                [[ ${{COMP_WORDS[at + 1]}} == "=" ]] && (( at++ ))
                (( at++ ))
            fi
        elif [[ -z $command ]]; then
            command="$word"
        else
            case "$command" in
                {"|".join(command_tree.GROUPS)}) command="$command $word" ;;
            esac
        fi
    done
    COMPREPLY=()
    [[ $previous == -* ]] && values="$(_s2_values "$command" "$previous")"
    if [[ -z $values ]]; then
        if [[ $current == -* ]]; then
            values="$(_s2_flags "$command")"
        else
            values="$(_s2_operands "$command")"
        fi
    fi
    local IFS=$' \\t\\n'
    case "$values" in
        "<file>" | "<dir>") IFS=$'\\n'; compopt -o filenames 2> /dev/null ;;
    esac
    case "$values" in
        "" | "-") ;;
        "<file>") COMPREPLY=($(compgen -f -- "$current")) ;;
        "<dir>") COMPREPLY=($(compgen -d -- "$current")) ;;
        *) COMPREPLY=($(compgen -W "$values" -- "$current")) ;;
    esac
}}

complete -o bashdefault -F _s2_completion {PROGRAM}
"""


# --- zsh


def _zsh() -> str:
    lines = ["#compdef s2", HEAD.format("zsh"), "_s2_commands() {", "    local -a commands=("]
    lines += [f"        {_quoted(_zsh_escaped(word) + ':' + text)}" for word, text in _first_words()]
    lines += ["    )", "    _describe -t commands command commands", "}", ""]
    for group in command_tree.GROUPS:
        lines += [f"_s2_commands_{group}() {{", "    local -a commands=("]
        lines += [f"        {_quoted(_zsh_escaped(word) + ':' + text)}" for word, text in _second_words(group)]
        lines += ["    )", "    _describe -t commands command commands", "}", ""]
    lines += ["_s2() {", "    local context state state_descr line command", "    typeset -A opt_args"]
    lines += ["    local -a everywhere=(", *_zsh_specs(_shown(option_table.read_global_options()))]
    lines += ["        '(-h --help)'{-h,--help}'[Show help]'", "    )"]
    lines += ["    _arguments -C -S $everywhere '1: :_s2_commands' '*:: :->rest' && return"]
    lines += ["    command=$words[1]", "    case $command in"]
    for group in command_tree.GROUPS:
        lines += [
            f"        {group})",
            f"            _arguments -C -S $everywhere '1: :_s2_commands_{group}' '*:: :->rest' && return",
            '            command="$command $words[1]"',
            "            ;;",
        ]
    lines += ["    esac", "    case $command in"]
    for command in _commands():
        lines += [f"        {_quoted(command.name)})", "            _arguments -s -S $everywhere \\"]
        specs = [line.strip() for line in _zsh_specs(_shown(command.options))]
        specs += [
            _quoted(f"{number}:{_zsh_text(operand.metavar.strip('[]'))}:{_zsh_action(_values(operand))}")
            for number, operand in enumerate(command.operands, 1)
        ]
        lines += [f"                {spec} \\" for spec in specs]
        lines += ["                && return", "            ;;"]
    lines += ["        help)", "            _arguments -S $everywhere \\"]
    lines += [f"                '1:topic:({' '.join(word for word, _ in _help_words())})' && return", "            ;;"]
    lines += ["    esac", "}", "", '_s2 "$@"', ""]
    return "\n".join(lines)


def _zsh_specs(options: Iterable[Option]) -> list[str]:
    specs = []
    for option in options:
        text = f"[{_zsh_text(option.help)}]"
        flags = list(option.flags)
        if not isinstance(option.kind, bool):
            values = _zsh_action(_values(option))
            text += f":{_zsh_text(option.metavar or 'value')}:{values}"
            # The value may be attached: --flag=value, -fvalue.
            flags = [flag + ("=" if flag.startswith("--") else "+") for flag in flags]
        before = "*" if option.kind == "many" else f"({' '.join(option.flags)})" if len(flags) > 1 else ""
        if len(flags) == 1:
            specs.append(f"        {_quoted(before + flags[0] + text)}")
        else:
            specs.append(f"        {_quoted(before)}{{{','.join(flags)}}}{_quoted(text)}")
    return specs


def _zsh_action(values: str) -> str:
    if values in ("<file>", "<dir>"):
        return "_files" if values == "<file>" else "_files -/"
    return f"({values})" if values else " "


def _zsh_text(text: str) -> str:
    """Of an _arguments spec: a colon and a bracket end a part of it."""
    for character in "\\:[]":
        text = text.replace(character, "\\" + character)
    return text


def _zsh_escaped(word: str) -> str:
    return word.replace(":", "\\:")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# --- fish


def _fish() -> str:
    takers = [flag for option in _all_options() for flag in option.flags if not isinstance(option.kind, bool)]
    groups = " ".join(command_tree.GROUPS)
    lines = [
        HEAD.format("fish"),
        "# The command that stands on the line so far.",
        "function __s2_command",
        f"    set -l takers {' '.join(dict.fromkeys(takers))}",
        "    set -l found",
        "    set -l skip 0",
        "    for word in (commandline -opc)[2..-1]",
        "        if test $skip = 1",
        "            set skip 0",
        "        else if string match -q -- '-*' $word",
        "            contains -- $word $takers; and set skip 1",
        "        else if test (count $found) = 0",
        "            set found $word",
        f"        else if test (count $found) = 1; and contains -- $found[1] {groups}",
        "            set -a found $word",
        "        end",
        "    end",
        "    string join -- ' ' $found",
        "end",
        "",
        "function __s2_at",
        '    test (__s2_command | string collect --allow-empty) = "$argv"',
        "end",
        "",
        f"complete -c {PROGRAM} -f",
    ]
    lines += [_fish_word("", word, text) for word, text in _first_words()]
    lines += [_fish_word("help", word, text) for word, text in _help_words()]
    lines += [_fish_word(group, word, text) for group in command_tree.GROUPS for word, text in _second_words(group)]
    lines += [_fish_option("", option) for option in _shown(option_table.read_global_options())]
    lines.append(f"complete -c {PROGRAM} -s h -l help -d 'Show help'")
    for command in _commands():
        condition = f"-n {_quoted(f'__s2_at {command.name}')} "
        lines += [_fish_option(condition, option) for option in _shown(command.options)]
        values = _operand_values(command)
        if values:
            lines.append(f"complete -c {PROGRAM} {condition}-a {_quoted(values)}")
    return "\n".join(lines) + "\n"


def _fish_word(before: str, word: str, text: str) -> str:
    return f"complete -c {PROGRAM} -n {_quoted(f'__s2_at {before}'.strip())} -a {word} -d {_quoted(text)}"


def _fish_option(condition: str, option: Option) -> str:
    flags = " ".join(f"-l {flag[2:]}" if flag[:2] == "--" else f"-s {flag[1:]}" for flag in option.flags)
    values = ""
    if not isinstance(option.kind, bool):
        named = _values(option)
        directories = "-x -a '(__fish_complete_directories)'"
        values = {"": " -x", "<file>": " -r -F", "<dir>": f" {directories}"}.get(named, f" -x -a {_quoted(named)}")
    return f"complete -c {PROGRAM} {condition}{flags}{values} -d {_quoted(option.help)}"


def _all_options() -> list[Option]:
    own = [option for command in option_table.read_commands() for option in command.options]
    return [*option_table.read_global_options(), *own]
