import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.errors import BadValueError
from s2cli.values import U64_MAX
from s2cli.wire.configs import (
    MAX_STORAGE_CLASS_BYTES,
    SYSTEM_DEFAULTS,
    ConfigShapeError,
    overlay,
    parse_basin_config,
    parse_stream_config,
    resolve_stream_config,
    show_basin_config,
    show_stream_layer,
)

EMPTY_BASIN = {
    "default_stream_config": {},
    "stream_cipher": None,
    "create_stream_on_append": False,
    "create_stream_on_read": False,
}


@pytest.mark.parametrize(
    ("value", "layer"),
    [
        ({}, {}),
        ({"storage_class": None, "retention_policy": None, "timestamping": None, "delete_on_empty": None}, {}),
        ({"storage_class": "express"}, {"storage_class": "express"}),
        ({"storage_class": "of a cloud to come"}, {"storage_class": "of a cloud to come"}),
        ({"retention_policy": {"age": 1}}, {"retention_policy": {"age": 1}}),
        ({"retention_policy": {"age": U64_MAX}}, {"retention_policy": {"age": U64_MAX}}),
        ({"retention_policy": {"infinite": {}}}, {"retention_policy": {"infinite": {}}}),
        ({"retention_policy": {"age": 1, "other": 2}}, {"retention_policy": {"age": 1}}),
        ({"timestamping": {}}, {}),
        ({"timestamping": {"mode": None, "uncapped": None}}, {}),
        ({"timestamping": {"mode": "arrival"}}, {"timestamping": {"mode": "arrival"}}),
        ({"timestamping": {"uncapped": False}}, {"timestamping": {"uncapped": False}}),
        # Empty is an explicit 0, and none at all is not.
        ({"delete_on_empty": {}}, {"delete_on_empty": {"min_age_secs": 0}}),
        ({"delete_on_empty": {"min_age_secs": 7}}, {"delete_on_empty": {"min_age_secs": 7}}),
        ({"who": "knows", "timestamping": {"mode": "arrival", "what": 1}}, {"timestamping": {"mode": "arrival"}}),
    ],
)
def test_stream_config_keeps_what_is_set(value, layer):
    assert parse_stream_config(value) == layer


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "config must be an object, not null"),
        ([], "config must be an object, not an array"),
        ({"storage_class": 1}, "config.storage_class must be a string, not 1"),
        ({"retention_policy": "infinite"}, "retention_policy must be an object"),
        ({"retention_policy": {}}, 'must be {"age": SECONDS} or {"infinite": {}}'),
        ({"retention_policy": {"age": 1, "infinite": {}}}, 'must be {"age": SECONDS} or {"infinite": {}}'),
        ({"retention_policy": {"days": 1}}, 'must be {"age": SECONDS} or {"infinite": {}}'),
        ({"retention_policy": {"infinite": True}}, "infinite must be an object, not true"),
        ({"retention_policy": {"age": -1}}, "age must be an integer"),
        ({"retention_policy": {"age": 1.0}}, "age must be an integer"),
        ({"retention_policy": {"age": True}}, "age must be an integer"),
        ({"retention_policy": {"age": U64_MAX + 1}}, "age must be an integer"),
        ({"retention_policy": {"age": "7d"}}, 'age must be an integer from 0 to 2^64 - 1, not "7d"'),
        ({"timestamping": {"mode": "client"}}, "mode must be one of client-prefer, client-require, arrival"),
        ({"timestamping": {"mode": ["arrival"]}}, "mode must be one of"),
        ({"timestamping": {"uncapped": 0}}, "uncapped must be true or false, not 0"),
        ({"delete_on_empty": 5}, "delete_on_empty must be an object, not 5"),
        ({"delete_on_empty": {"min_age_secs": "5"}}, "min_age_secs must be an integer"),
    ],
)
def test_wrong_shapes_are_named(value, words):
    with pytest.raises(ConfigShapeError) as caught:
        parse_stream_config(value)
    assert words in caught.value.message


def test_retention_of_nothing_has_the_right_shape_but_is_invalid():
    with pytest.raises(BadValueError, match="age must be greater than 0 seconds") as caught:
        parse_stream_config({"retention_policy": {"age": 0}})
    assert not isinstance(caught.value, ConfigShapeError)


def test_long_values_are_cut_in_messages():
    with pytest.raises(ConfigShapeError) as caught:
        parse_stream_config({"timestamping": {"mode": "x" * 1000}})
    assert len(caught.value.message) < 200


def test_a_leaf_is_taken_from_the_first_layer_that_sets_it():
    stream = {"timestamping": {"uncapped": True}, "retention_policy": {"infinite": {}}}
    basin = {"timestamping": {"mode": "arrival", "uncapped": False}, "retention_policy": {"age": 5}}
    assert resolve_stream_config(stream, basin) == {
        "storage_class": "express",
        "retention_policy": {"infinite": {}},
        "timestamping": {"mode": "arrival", "uncapped": True},
        "delete_on_empty": {"min_age_secs": 0},
    }


def test_an_explicit_zero_overrides_the_basin():
    layer = parse_stream_config({"delete_on_empty": {"min_age_secs": 0}})
    assert resolve_stream_config(layer, {"delete_on_empty": {"min_age_secs": 60}})["delete_on_empty"] == {
        "min_age_secs": 0
    }


def test_nothing_set_resolves_to_the_system_defaults():
    assert resolve_stream_config({}, {}) == SYSTEM_DEFAULTS


def test_basin_config():
    assert parse_basin_config({}) == EMPTY_BASIN
    assert parse_basin_config(
        {
            "default_stream_config": {"storage_class": "standard"},
            "stream_cipher": "aegis-256",
            "create_stream_on_append": True,
            "create_stream_on_read": None,
        }
    ) == {
        "default_stream_config": {"storage_class": "standard"},
        "stream_cipher": "aegis-256",
        "create_stream_on_append": True,
        "create_stream_on_read": False,
    }


def test_members_of_a_stream_at_the_top_of_a_basin_are_a_shorthand():
    value = {
        "storage_class": "standard",
        "timestamping": {"mode": "arrival", "uncapped": True},
        "default_stream_config": {"timestamping": {"mode": "client-require"}},
    }
    assert parse_basin_config(value)["default_stream_config"] == {
        "storage_class": "standard",
        "timestamping": {"mode": "client-require", "uncapped": True},
    }


@pytest.mark.parametrize(
    "value",
    [
        {"default_stream_config": []},
        {"stream_cipher": "rot13"},
        {"stream_cipher": 1},
        {"create_stream_on_append": "yes"},
        {"create_stream_on_read": 1},
        {"default_stream_config": {"storage_class": 5}},
    ],
)
def test_wrong_shapes_in_a_basin(value):
    with pytest.raises(ConfigShapeError):
        parse_basin_config(value)


def test_a_basin_shows_what_was_set_and_null_for_the_rest():
    assert show_basin_config(EMPTY_BASIN)["default_stream_config"] is None
    config = parse_basin_config({"default_stream_config": {"timestamping": {"mode": "arrival"}}})
    assert show_basin_config(config)["default_stream_config"] == {
        "storage_class": None,
        "retention_policy": None,
        "timestamping": {"mode": "arrival", "uncapped": None},
        "delete_on_empty": None,
    }


u64 = st.integers(0, U64_MAX)
layers = st.fixed_dictionaries(
    {},
    optional={
        "storage_class": st.text(
            st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=MAX_STORAGE_CLASS_BYTES // 4
        ),
        "retention_policy": st.one_of(
            st.just({"infinite": {}}), st.fixed_dictionaries({"age": st.integers(1, U64_MAX)})
        ),
        "timestamping": st.fixed_dictionaries(
            {},
            optional={
                "mode": st.sampled_from(["client-prefer", "client-require", "arrival"]),
                "uncapped": st.booleans(),
            },
        ),
        "delete_on_empty": st.fixed_dictionaries({"min_age_secs": u64}),
    },
)


@given(layers, layers)
def test_every_resolution_is_complete_and_stable(stream, basin):
    layer, defaults = parse_stream_config(stream), parse_stream_config(basin)
    full = resolve_stream_config(layer, defaults)
    assert list(full) == list(SYSTEM_DEFAULTS)
    assert parse_stream_config(full) == full
    assert resolve_stream_config(full, defaults) == full
    assert overlay(layer, {}) == layer
    shown = show_stream_layer(layer)
    assert parse_stream_config(shown or {}) == layer


@given(st.recursive(st.none() | st.booleans() | u64 | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_json_value_is_taken_or_refused(value):
    for parse in parse_stream_config, parse_basin_config:
        with contextlib.suppress(BadValueError):
            assert isinstance(parse(value), dict)
