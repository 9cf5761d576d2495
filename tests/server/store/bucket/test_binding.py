"""What crosses the binding of the library, and how."""

import asyncio
import builtins
import sys

import pytest

from s2cli.errors import S2Error
from s2cli.server.store.bucket import binding
from s2cli.server.store.bucket.database import Database, Place


class NotByteByByte(bytes):
    """A value that says so when it is copied byte by byte."""

    def __iter__(self):
        raise AssertionError("copied byte by byte")


def test_values_cross_the_binding_at_once_and_unchanged():
    values = [b"", b"\0", bytes(range(256)), bytes(range(256)) * 4096]

    async def run():
        database = await Database.open(Place.of("memory:///"), "place")
        await database.write(
            {NotByteByByte(b"%d" % number): NotByteByByte(value) for number, value in enumerate(values)}
        )
        found = [await database.get(b"%d" % number) for number in range(len(values))]
        rows = await (await database.rows(b"0", b"9")).take(10)
        await database.close()
        return found, rows

    found, rows = asyncio.run(run())
    assert found == values
    assert rows == [(b"%d" % number, value) for number, value in enumerate(values)]


def test_a_binding_that_is_built_in_another_way_is_left_alone(monkeypatch):
    binding.load()
    from slatedb.uniffi._slatedb_uniffi import slatedb as generated

    converter = generated._UniffiFfiConverterBytes
    untouched = object()
    monkeypatch.setattr(converter, "lower", untouched)
    monkeypatch.setattr(generated._UniffiRustBuffer, "alloc", None)
    binding.load()
    assert converter.lower is untouched
    monkeypatch.delattr(generated, "_UniffiRustBuffer")
    binding.load()
    assert converter.lower is untouched


def test_an_error_names_the_extra_that_is_missing(monkeypatch):
    imported = builtins.__import__

    def missing(name, *arguments, **named):
        if name.split(".")[0] in ("slatedb", "obstore"):
            raise ImportError(name)
        return imported(name, *arguments, **named)

    for name in [name for name in sys.modules if name.split(".")[0] in ("slatedb", "obstore")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    from s2cli.server.store.bucket.objects import Objects

    for make in (lambda: Place.of("memory:///"), lambda: Objects(None)):
        with pytest.raises(S2Error, match=r"pip install 's2cli\[bucket\]'"):
            make()
