"""`s2 list|get|delete URI` find their noun in the URI."""

import json


def test_list_lists_basins_or_the_streams_of_one(s2, shared_server, basin):
    shared_server.create_stream(basin, "a/1")
    shared_server.create_stream(basin, "b/1")
    assert basin in s2("list", "-o", "name", "--prefix", basin).stdout.decode().split()
    assert s2("list", "-o", "json", "-p", basin).stdout == s2("basins", "list", "-o", "json", "-p", basin).stdout
    for place in (basin, f"s2://{basin}", f"s2://{basin}/"):
        assert s2("list", place).stdout == s2("streams", "list", basin).stdout
    assert s2("list", f"s2://{basin}/b", "-o", "name", "-0").stdout == f"s2://{basin}/b/1\0".encode()


def test_get_shows_either(s2, shared_server, basin):
    shared_server.create_stream(basin, "s", retention_policy={"age": 60})
    assert s2("get", f"s2://{basin}/s").stdout == s2("streams", "get", f"s2://{basin}/s").stdout
    assert json.loads(s2("get", basin, "-o", "json").stdout)["create_stream_on_append"] is False


def test_delete_asks_as_the_forms_with_a_noun_do(s2, shared_server, basin):
    shared_server.create_stream(basin, "s")
    for uri, noun in ((f"s2://{basin}/s", "streams"), (f"s2://{basin}", "basins")):
        refused = s2("delete", uri, code=2)
        assert refused.stderr == s2(noun, "delete", uri, code=2).stderr
        assert b"hint: add --yes" in refused.stderr
        s2("delete", uri, "--yes")
        assert s2("get", uri, code=None).returncode in (3, 5)
