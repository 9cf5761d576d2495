"""Guesses of what was meant: near ones alone, and none that does not exist."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.cli import command_tree, option_table, suggestions, typer_app

KNOWN = ["web", "web-2", "worker", "orders", "verbose", "follow"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("wbe", ["web"]),
        ("wep", ["web"]),
        ("WEB", ["web"]),
        ("oders", ["orders"]),
        ("ordesr", ["orders"]),
        ("fol", ["follow"]),
        ("reverse", []),
        ("xyz", []),
        ("w", []),
        ("", []),
        ("worker2", ["worker"]),
    ],
)
def test_near_words(typed, meant):
    assert suggestions.near(typed, KNOWN) == meant


def test_the_nearest_comes_first_and_three_are_enough():
    assert suggestions.near("stream-1", ["stream-22", "stream-2", "stream-3", "stream-4"]) == [
        "stream-2",
        "stream-3",
        "stream-4",
    ]


@given(st.text("abc-/", min_size=1, max_size=12), st.lists(st.text("abc-/", min_size=1, max_size=12), max_size=8))
def test_guesses_are_other_known_words(typed, known):
    found = suggestions.near(typed, known)
    assert set(found) <= set(known) - {typed}
    assert len(found) <= 3


@given(st.text(max_size=8), st.text(max_size=8))
def test_the_bounded_distance_is_the_distance(one, other):
    exact = suggestions.distance(one, other, 99)
    assert exact == suggestions.distance(other, one, 99)
    for bound in (0, 1, 2):
        bounded = suggestions.distance(one, other, bound)
        assert bounded == exact if exact <= bound else bounded > bound


def commands() -> dict[str, set[str]]:
    """Every command with its flags."""
    everywhere = {flag for option in option_table.read_global_options() for flag in option.flags}
    return {
        command.name: everywhere | {flag for option in command.options for flag in option.flags}
        for command in option_table.read_commands()
    }


def test_options_that_are_suggested_exist_and_that_were_typed_do_not():
    fitted = set()
    for name, flags in commands().items():
        for typed in suggestions.OPTIONS:
            if typed not in flags:
                hint = suggestions.option_hint(typed, flags) or ""
                fitted |= {typed} if hint else set()
                if "S2_" not in hint and "no dry run" not in hint and name != "append":
                    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", hint.partition(", or s2 ")[0]))
                    assert named <= flags, (name, typed, hint)
    assert fitted == set(suggestions.OPTIONS)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("s2://b/x", "a command comes first: s2 read URI prints the records of a stream"),
        ("metrics s2://b/x", "did you mean s2 metrics stream?"),
        ("metrics s2://b", "did you mean s2 metrics basin?"),
        ("streams s2://b/x", "s2 streams --help lists the commands"),
        ("basins s2://b", "s2 basins --help lists the commands"),
        ("locations s2://b", "s2 locations --help lists the commands"),
    ],
)
def test_a_uri_in_place_of_a_command(typed, hint):
    assert typer_app.unknown_command(typed).hint == hint


def test_commands_that_are_suggested_exist_and_that_were_typed_do_not():
    known = {*command_tree.COMMANDS, *command_tree.GROUPS}
    assert not known.intersection(suggestions.COMMANDS)
    for typed in (*suggestions.COMMANDS, *suggestions.VERBS):
        if typed in command_tree.COMMANDS:
            continue
        hint = typer_app.unknown_command(typed).hint
        for first in re.findall(r"s2 ([a-z-]+)", hint):
            assert first in known | {"help", "--version", "--local"}, (typed, hint)
