"""Avro container files as blocks, in bounded memory; a corrupt block costs itself only.

Belongs here: header, blocks, sync markers, codecs. Not here: the records in a block (avro_files.py).
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa

from ad_lakehouse.errors import LakehouseError
from kafka_sinks.decode.avro_binary import zigzag

MAGIC = b"Obj\x01"
SYNC = 16
LARGEST_HEADER = 4 << 20
LARGEST_BLOCK = 64 << 20  # unpacked; a block of 200 KB can unpack to 200 MB. Writers' default is 16 or 64 KB
LONGEST_DAMAGE = 16 << 20  # of more bytes without a sync marker the beginning is kept
XZ_MEMORY = 80 << 20  # a dictionary may be said to have 4 GB, and takes them at once; level 9 needs 65 MB
READ = 1 << 20


class ContainerUnreadable(LakehouseError):
    """A file is no Avro container, or its schema or codec can't be used."""

    exit_code = 29


class BlockBroken(ValueError):
    """Why a block is not read."""


class BlockTooLarge(BlockBroken):
    """A block would unpack to more than we hold."""


@dataclass(frozen=True)
class Header:
    """The head of a container: writer's schema, codec, sync marker, and its bytes as they stand."""

    schema: str
    codec: str
    sync: bytes
    raw: bytes


@dataclass(frozen=True)
class Block:
    """One block: its number of records and packed bytes, or `error` with all bytes up to the next block."""

    count: int
    data: bytes
    error: str = ""


class Feed:
    """A stream with what was read ahead of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._held, self._at = stream, b"", 0

    def peek(self, size: int) -> bytes:
        """The next bytes without taking them; fewer at the end."""
        while len(self._held) - self._at < size:
            more = self._stream.read(max(READ, size - len(self._held) + self._at))
            if not more:
                break
            self._held, self._at = self._held[self._at :] + more, 0
        return self._held[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        taken = self.peek(size)
        self._at += len(taken)
        return taken

    def take_behind(self, mark: bytes, at_most: int) -> bytes:
        """Everything up to and with the next mark, or the end; of more than `at_most` bytes about as many."""
        taken, tail = io.BytesIO(), b""
        while ahead := self.peek(READ):
            joint = tail + ahead
            found = joint.find(mark)
            part = self.take(len(ahead) if found < 0 else found + len(mark) - len(tail))
            if taken.tell() < at_most:
                taken.write(part)
            if found >= 0:
                break
            tail = joint[-len(mark) + 1 :]
        return taken.getvalue()


def read_header(feed: Feed) -> Header:
    """Raises `ContainerUnreadable`."""
    raw = feed.peek(LARGEST_HEADER)
    remedy = "Put a whole Avro container file there, or take the file out of the folder."
    if not raw.startswith(MAGIC):
        raise ContainerUnreadable("The file is no Avro container: it does not begin with Obj 1.", remedy=remedy)
    try:
        at, meta = len(MAGIC), {}
        while True:
            count, at = varint(raw, at)
            if count == 0:
                break
            if count < 0:
                _, at = varint(raw, at)
            for _ in range(abs(count)):
                key, at = _bytes(raw, at)
                meta[key], at = _bytes(raw, at)
        if len(raw) < at + SYNC:
            raise BlockBroken("the header is cut")
        schema, codec = meta[b"avro.schema"].decode(), meta.get(b"avro.codec", b"null").decode()
    except (BlockBroken, KeyError, UnicodeDecodeError) as error:
        raise ContainerUnreadable(f"The file's Avro header can't be read: {error}.", remedy=remedy) from None
    if codec not in CODECS:
        known = ", ".join(CODECS)
        raise ContainerUnreadable(f"The file's Avro codec {codec!r} is not known.", remedy=f"Use one of {known}.")
    raw = feed.take(at + SYNC)
    return Header(schema, codec, raw[at:], raw)


def read_blocks(feed: Feed, header: Header) -> Iterator[Block]:
    """All blocks; one that is damaged comes with an error, and reading goes on behind the next sync marker."""
    while ahead := feed.peek(20):
        try:
            count, at = varint(ahead, 0)
            size, at = varint(ahead, at)
            if count < 0 or not 0 <= size <= LARGEST_BLOCK:
                raise BlockBroken(f"a block of {count} records and {size} bytes")
            whole = feed.peek(at + size + SYNC)
            if len(whole) < at + size + SYNC:
                raise BlockBroken("the file ends within a block")
            if whole[at + size :] != header.sync:
                raise BlockBroken("no sync marker behind a block")
        except BlockBroken as error:
            yield Block(0, feed.take_behind(header.sync, LONGEST_DAMAGE), str(error))
            continue
        feed.take(at + size + SYNC)
        yield Block(count, whole[at : at + size])


def unpacked(codec: str, data: bytes) -> bytes:
    """The bytes of a block; raises `BlockBroken` or `BlockTooLarge`."""
    try:
        content = CODECS[codec](data)
    except (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        if isinstance(error, BlockBroken):
            raise
        raise BlockBroken(f"the block can't be unpacked ({codec}): {error}") from None
    if len(content) > LARGEST_BLOCK:
        raise BlockTooLarge(f"the block unpacks to more than {LARGEST_BLOCK >> 20} MiB")
    return content


def packed_block(header: Header, block: Block) -> bytes:
    """A container file of one block: what a rejected block is kept as."""
    if block.error:
        return header.raw + block.data
    return b"".join([header.raw, zigzag(block.count), zigzag(len(block.data)), block.data, header.sync])


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A long at a place, and where it ends."""
    number = 0
    for place, octet in enumerate(data[at : at + 10]):
        number |= (octet & 0x7F) << (7 * place)
        if octet < 0x80:
            return (number >> 1) ^ -(number & 1), at + place + 1
    raise BlockBroken("a number that does not end")


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = varint(data, at)
    if size < 0 or at + size > len(data):
        raise BlockBroken("a text longer than the header")
    return data[at : at + size], at + size


def _whole(data: bytes, unpacker: Any) -> bytes:
    """At most a byte more than we hold, by an unpacker of the standard library."""
    content: bytes = unpacker.decompress(data, LARGEST_BLOCK + 1)
    if len(content) <= LARGEST_BLOCK and not unpacker.eof:
        raise BlockBroken("the packed block is cut")
    return content


def _snappy(data: bytes) -> bytes:
    packed, checksum = data[:-4], data[-4:]
    size, shift = 0, 0
    for octet in packed[:5]:
        size |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            break
    if size > LARGEST_BLOCK:
        raise BlockTooLarge(f"the block unpacks to {size} bytes")
    content: bytes = pa.Codec("snappy").decompress(packed, decompressed_size=size, asbytes=True)
    if zlib.crc32(content).to_bytes(4, "big") != checksum:
        raise BlockBroken("the checksum does not fit")
    return content


def _zstandard(data: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        content: bytes = stream.read(LARGEST_BLOCK + 1)
    return content


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": lambda data: _whole(data, zlib.decompressobj(-zlib.MAX_WBITS)),
    "snappy": _snappy,
    "zstandard": _zstandard,
    "bzip2": lambda data: _whole(data, bz2.BZ2Decompressor()),
    "xz": lambda data: _whole(data, lzma.LZMADecompressor(memlimit=XZ_MEMORY)),
}
