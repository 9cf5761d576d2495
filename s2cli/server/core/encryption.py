"""Encryption with the keys of clients (protocol section 11): a chunk of an encrypted stream is sealed before it is
stored, and opened for each reader with the key that the reader brings. The server keeps no key.

A sealed chunk is: 4 bytes with the size of what follows in the clear | its command records, as ReadBatch | nonce | all
other records, as ReadBatch, encrypted | tag. Command records stay readable under any key; a chunk of nothing else is
not sealed at all.

Whoever can write to the disk, and has no key, can make no data record, and none that he finds there opens in another
place: what is encrypted is bound to its stream (its random `uid`, which a stream that is created again under the same
name does not have, and its name), to its place there, and to the columns beside it. He can still take
records away, turn back the whole directory, write command records where they are alone in their chunk, declare a stream
to be one in the clear, and make it one of format 1 by taking away its `uid`: then nothing opens in it that was sealed
since, but chunks do that a server of that time sealed under its name.

The column `kind` of a chunk says how it is sealed: 1 and 2 are the ciphers as in format 1, where a chunk was bound to
the stream's name and its first sequence number alone; 3 and 4 are the same ciphers as they are used today. The former
open in streams without a `uid`, which were created then, and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib.util
import os
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

from s2cli.errors import ApiError, MissingKeyError, ProtocolError
from s2cli.server.store.interface import MAX_SEQ_NUM, Chunk
from s2cli.wire.messages import decode_read
from s2cli.wire.record_rules import FENCE, TRIM
from s2cli.wire.s2_pb2 import ReadBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.wire.s2_pb2 import SequencedRecord

    Crypt = Callable[[bytes, bytes, bytes], bytes]  # nonce, text, what it is bound to

KEY_BYTES = 32
MAX_KEY_CHARS = 44
TAG_BYTES = 16
SIZE_BYTES = 4

# first sequence number, records, metered bytes, last timestamp
_PLACE = struct.Struct(">4Q")
_COMMANDS = frozenset((FENCE, TRIM))


class EncryptedStream(Protocol):
    """What of a stream its chunks are bound to."""

    key: tuple[str, str]
    uid: bytes | None
    cipher: str | None


class Keyed(NamedTuple):
    """A cipher with a key."""

    encrypt: Crypt
    decrypt: Crypt
    refusal: type[Exception]  # what `decrypt` raises for a wrong key


class Cipher(NamedTuple):
    kind: int  # as stored with each chunk; 0 is none
    kind_before: int  # of chunks of format 1
    package: str
    nonce_bytes: int
    end_seq_num: int
    with_key: Callable[[bytes], Keyed]


# The packages are imported with the first key: no other server pays for them.
def _aegis_256(key: bytes) -> Keyed:
    from aeg import aegis256  # type: ignore[import-untyped]  # it says nothing of types

    def encrypt(nonce: bytes, text: bytes, bound_to: bytes) -> bytes:
        return bytes(aegis256.encrypt(key, nonce, text, bound_to))

    def decrypt(nonce: bytes, text: bytes, bound_to: bytes) -> bytes:
        return bytes(aegis256.decrypt(key, nonce, text, bound_to))

    return Keyed(encrypt, decrypt, ValueError)


def _aes_256_gcm(key: bytes) -> Keyed:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(key)
    return Keyed(cipher.encrypt, cipher.decrypt, InvalidTag)


CIPHERS = {
    "aegis-256": Cipher(3, 1, "aeg", 32, MAX_SEQ_NUM, _aegis_256),
    # Random nonces of 12 bytes are safe for so many records.
    "aes-256-gcm": Cipher(4, 2, "cryptography", 12, 1 << 32, _aes_256_gcm),
}


def check_available(cipher: str) -> None:
    """Raises ApiError where this server cannot use a cipher."""
    package = CIPHERS[cipher].package
    if importlib.util.find_spec(package) is None:
        raise ApiError(
            "invalid", f"this server cannot encrypt with {cipher}: the Python package `{package}` is not installed"
        )


def check_key_material(value: bytes) -> bytes:
    """The value of the header `s2-encryption-key`, trimmed. What is in it depends on the stream, and is seen later."""
    value = value.strip()
    if not 1 <= len(value) <= MAX_KEY_CHARS:
        raise ApiError("bad_header", f"invalid encryption key: key material length {len(value)} is out of range")
    return value


def seal_of(stream: EncryptedStream, material: bytes | None) -> Seal | None:
    """What seals and opens the chunks of the stream for one exchange; None for a stream that is not encrypted."""
    name = stream.cipher
    if name is None:
        return None
    if material is None:
        raise MissingKeyError(MissingKeyError.CODE, f"{MissingKeyError.TEXT} for stream cipher '{name}'")
    try:
        key = base64.b64decode(material, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError("bad_header", f"invalid encryption key for stream cipher '{name}': invalid base64") from error
    if len(key) != KEY_BYTES:
        raise ApiError("bad_header", f"invalid encryption key length for stream cipher '{name}': {len(key)}")
    return Seal(CIPHERS[name], key, stream.key, stream.uid)


class Seal:
    """One key for one stream."""

    __slots__ = ("_cipher", "_keyed", "_name_hash", "_stream_hash", "_uid")

    def __init__(self, cipher: Cipher, key: bytes, stream: tuple[str, str], uid: bytes | None) -> None:
        self._cipher = cipher
        self._keyed = cipher.with_key(key)
        self._uid = uid
        self._name_hash = hashlib.sha256("\0".join(stream).encode()).digest()
        self._stream_hash = hashlib.sha256(b"stream\0" + (uid or bytes(16)) + self._name_hash).digest()

    @property
    def end_seq_num(self) -> int:
        """No record may have this sequence number, or a later one."""
        return self._cipher.end_seq_num

    def seal(self, chunk: Chunk, commands: set[int]) -> Chunk:
        """The chunk as it is to be stored. `commands` are the sequence numbers of records that stay in the clear."""
        data, clear = chunk.data, b""
        if commands:
            records = ReadBatch.FromString(data).records
            if len(commands) == len(records):
                return chunk
            clear = ReadBatch(records=[record for record in records if record.seq_num in commands]).SerializeToString()
            data = ReadBatch(
                records=[record for record in records if record.seq_num not in commands]
            ).SerializeToString()
        nonce = os.urandom(self._cipher.nonce_bytes)
        secret = self._keyed.encrypt(nonce, data, self._bound_to(chunk, clear))
        sealed = b"".join((len(clear).to_bytes(SIZE_BYTES, "big"), clear, nonce, secret))
        return _with_data(chunk, sealed, self._cipher.kind)

    def open(self, chunk: Chunk) -> Chunk:
        """The chunk with its records in the clear. Raises ApiError `decryption_failed` for a wrong key, and for data
        that was not sealed at all."""
        if not chunk.kind:
            _check_commands(chunk)
            return chunk
        data = chunk.data
        nonce_at = SIZE_BYTES + int.from_bytes(data[:SIZE_BYTES], "big")
        secret_at = nonce_at + self._cipher.nonce_bytes
        if len(data) < secret_at + TAG_BYTES:
            raise not_openable(chunk)
        clear = data[SIZE_BYTES:nonce_at]
        if chunk.kind == self._cipher.kind:
            try:
                bound_to = self._bound_to(chunk, clear)
            except struct.error as error:  # numbers that no chunk has
                raise not_openable(chunk) from error
        elif chunk.kind == self._cipher.kind_before and self._uid is None:
            bound_to = self._name_hash + chunk.first_seq_num.to_bytes(8, "big") + clear
        else:
            raise not_openable(chunk)
        try:
            opened = self._keyed.decrypt(data[nonce_at:secret_at], data[secret_at:], bound_to)
        except self._keyed.refusal as error:
            raise ApiError("decryption_failed", "record decryption failed") from error
        if clear:
            records = [*ReadBatch.FromString(clear).records, *ReadBatch.FromString(opened).records]
            records.sort(key=lambda record: record.seq_num)
            opened = ReadBatch(records=records).SerializeToString()
        return _with_data(chunk, opened, 0)

    def _bound_to(self, chunk: Chunk, clear: bytes) -> bytes:
        place = _PLACE.pack(chunk.first_seq_num, chunk.count, chunk.metered_bytes, chunk.last_timestamp)
        return self._stream_hash + place + clear


def _with_data(chunk: Chunk, data: bytes, kind: int) -> Chunk:
    return Chunk(chunk.first_seq_num, chunk.count, chunk.metered_bytes, chunk.last_timestamp, data, kind)


def _check_commands(chunk: Chunk) -> None:
    """Raises ApiError unless the chunk, which lies in an encrypted stream in the clear, is command records alone."""
    try:
        batch = decode_read(chunk.data)
    except ProtocolError as error:
        raise not_openable(chunk) from error
    numbers = [record.seq_num for record in batch.records]
    if (
        batch.HasField("tail")
        or numbers != list(range(chunk.first_seq_num, chunk.end_seq_num))
        or not all(_is_command(record) for record in batch.records)
    ):
        raise ApiError(
            "decryption_failed",
            f"the {_range(chunk)} of an encrypted stream are stored in the clear: they were changed on the disk",
        )


def _is_command(record: SequencedRecord) -> bool:
    headers = record.headers
    return len(headers) == 1 and not headers[0].name and headers[0].value in _COMMANDS


def not_openable(chunk: Chunk) -> ApiError:
    """The error of a chunk that is not sealed as its stream has it, or not sealed at all."""
    return ApiError(
        "storage",
        f"the {_range(chunk)} are malformed on the disk, or sealed in another way (kind {chunk.kind}): with the cipher "
        "of another stream, or by a newer version of s2",
    )


def _range(chunk: Chunk) -> str:
    return f"records {chunk.first_seq_num} to {chunk.end_seq_num - 1}"
