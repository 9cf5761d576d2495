"""The storage library SlateDB as this package uses it: the one place that imports it.

Its Python binding (0.17) copies what goes into it byte by byte, in a loop of Python's: 1 MiB takes 0.15 s. `_lower`
copies it with one call; where the binding is built in another way it is left alone.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any

from s2cli.errors import S2Error

MISSING = "a store in a bucket needs the package slatedb: pip install 's2cli[bucket]'"

_LENGTH = struct.Struct(">i")


def load() -> Any:
    """The module of the binding, in which values are copied at once. Raises S2Error where it is not installed."""
    try:
        import slatedb.uniffi as binding
    except ImportError as error:
        raise S2Error(MISSING) from error
    _copy_at_once()
    return binding


def _copy_at_once() -> None:
    try:
        from slatedb.uniffi._slatedb_uniffi import slatedb as generated

        buffer, converter = generated._UniffiRustBuffer, generated._UniffiFfiConverterBytes
        fields = [(name, size) for name, size, *_ in buffer._fields_]
        expected = [("capacity", ctypes.c_uint64), ("len", ctypes.c_uint64), ("data", ctypes.POINTER(ctypes.c_char))]
        known = fields == expected and callable(buffer.alloc) and callable(converter.lower)
    except (ImportError, AttributeError, ValueError):
        return
    if not known:
        return

    def _lower(value: bytes) -> Any:
        """The value as the binding hands it over: its length, then its bytes."""
        size = len(value) + _LENGTH.size
        lowered = buffer.alloc(size)
        ctypes.memmove(lowered.data, _LENGTH.pack(len(value)) + value, size)
        lowered.len = size
        return lowered

    converter.lower = staticmethod(_lower)
