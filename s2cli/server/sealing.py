"""Encryption with the keys of clients (protocol section 11): a chunk of an encrypted stream is sealed before it is
stored, and opened for each reader with the key that the reader brings. The server keeps no key.

A sealed chunk is: 4 bytes with the size of what follows in the clear | its command records, as ReadBatch | nonce | all
other records, as ReadBatch, encrypted | tag. Command records stay readable under any key. What is encrypted is bound to
its stream and its place: moved elsewhere on the disk, it does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib.util
import os
from typing import TYPE_CHECKING, NamedTuple

from s2cli.errors import ApiError
from s2cli.server.store import MAX_SEQ_NUM, Chunk
from s2cli.wire.s2_pb2 import ReadBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.server.stream import Stream

    Crypt = Callable[[bytes, bytes, bytes], bytes]  # nonce, text, what it is bound to

KEY_BYTES = 32
MAX_KEY_CHARS = 44
TAG_BYTES = 16
SIZE_BYTES = 4


class Keyed(NamedTuple):
    """A cipher with a key."""

    encrypt: Crypt
    decrypt: Crypt
    refusal: type[Exception]  # what `decrypt` raises for a wrong key


class Cipher(NamedTuple):
    kind: int  # as stored with each chunk; 0 is none
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
    "aegis-256": Cipher(1, "aeg", 32, MAX_SEQ_NUM, _aegis_256),
    # Random nonces of 12 bytes are safe for so many records.
    "aes-256-gcm": Cipher(2, "cryptography", 12, 1 << 32, _aes_256_gcm),
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


def seal_of(stream: Stream, material: bytes | None) -> Seal | None:
    """What seals and opens the chunks of the stream for one exchange; None for a stream that is not encrypted."""
    name = stream.cipher
    if name is None:
        return None
    if material is None:
        raise ApiError("bad_header", f"missing encryption key for stream cipher '{name}'")
    try:
        key = base64.b64decode(material, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError("bad_header", f"invalid encryption key for stream cipher '{name}': invalid base64") from error
    if len(key) != KEY_BYTES:
        raise ApiError("bad_header", f"invalid encryption key length for stream cipher '{name}': {len(key)}")
    return Seal(CIPHERS[name], key, stream.key)


class Seal:
    """One key for one stream."""

    __slots__ = ("_cipher", "_keyed", "_stream_hash")

    def __init__(self, cipher: Cipher, key: bytes, stream: tuple[str, str]) -> None:
        self._cipher = cipher
        self._keyed = cipher.with_key(key)
        self._stream_hash = hashlib.sha256("\0".join(stream).encode()).digest()

    @property
    def end_seq_num(self) -> int:
        """No record may have this sequence number, or a later one."""
        return self._cipher.end_seq_num

    def seal(self, data: bytes, first_seq_num: int, commands: set[int]) -> tuple[bytes, int]:
        """What is to be stored of these ReadBatch bytes, and its kind. `commands` are the sequence numbers of records
        that stay in the clear."""
        clear = b""
        if commands:
            records = ReadBatch.FromString(data).records
            clear = ReadBatch(records=[record for record in records if record.seq_num in commands]).SerializeToString()
            if len(commands) == len(records):
                return clear, 0
            data = ReadBatch(
                records=[record for record in records if record.seq_num not in commands]
            ).SerializeToString()
        nonce = os.urandom(self._cipher.nonce_bytes)
        secret = self._keyed.encrypt(nonce, data, self._bound_to(first_seq_num, clear))
        return b"".join((len(clear).to_bytes(SIZE_BYTES, "big"), clear, nonce, secret)), self._cipher.kind

    def open(self, chunk: Chunk) -> Chunk:
        """The chunk with its records in the clear. Raises ApiError `decryption_failed` for a wrong key."""
        data = chunk.data
        nonce_at = SIZE_BYTES + int.from_bytes(data[:SIZE_BYTES], "big")
        secret_at = nonce_at + self._cipher.nonce_bytes
        if chunk.kind != self._cipher.kind or len(data) < secret_at + TAG_BYTES:
            raise not_openable()
        clear = data[SIZE_BYTES:nonce_at]
        try:
            opened = self._keyed.decrypt(
                data[nonce_at:secret_at], data[secret_at:], self._bound_to(chunk.first_seq_num, clear)
            )
        except self._keyed.refusal as error:
            raise ApiError("decryption_failed", "record decryption failed") from error
        if clear:
            records = [*ReadBatch.FromString(clear).records, *ReadBatch.FromString(opened).records]
            records.sort(key=lambda record: record.seq_num)
            opened = ReadBatch(records=records).SerializeToString()
        return Chunk(chunk.first_seq_num, chunk.count, chunk.metered_bytes, chunk.last_timestamp, opened)

    def _bound_to(self, first_seq_num: int, clear: bytes) -> bytes:
        return self._stream_hash + first_seq_num.to_bytes(8, "big") + clear


def not_openable() -> ApiError:
    """The error of a chunk that is not of its stream's cipher, or no sealed chunk at all."""
    return ApiError("storage", "a stored record is malformed, or encrypted with another algorithm")
