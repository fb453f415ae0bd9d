"""Packed files (gzip, Zstandard) as streams of their content.

Belongs here: which names are packed, unpacking in bounded memory, what an unpacker says of a broken file. Not here:
Avro's own codecs (kafka_sinks/decode), records.

Several packed files behind each other are one, in both formats. What stands behind them and is none is no padding
that could be ignored: the file is broken. Zstandard asks for the memory of its window; more than 128 MiB
(`zstd --long=28` and more) is refused.
"""

import gzip
import zlib
from typing import IO, Any, cast

import pyarrow as pa

BROKEN = (EOFError, gzip.BadGzipFile, zlib.error)


class BrokenZstandard(EOFError):
    """A Zstandard file is cut, damaged, or asks for too much memory."""


def unpacked(stream: IO[bytes], name: str) -> IO[bytes]:
    """The content of a file; the stream itself when its name does not say that it is packed.

    Reading raises one of `BROKEN` when the file is; the stream stays open when the content is closed.
    """
    if name.endswith(".gz"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if name.endswith(".zst"):
        return cast(IO[bytes], ZstandardFile(stream))
    return stream


class ZstandardFile:
    """Reads a Zstandard file by Arrow, which notices when it ends within a frame."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._content = pa.CompressedInputStream(pa.PythonFile(StaysOpen(stream), mode="r"), "zstd")

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        try:
            found: bytes = self._content.read(size)
        except OSError as error:
            if error.errno is not None:  # of the disk, not of the format
                raise
            raise BrokenZstandard(str(error)) from None
        return found


class StaysOpen:
    """A stream that Arrow can't close: it is read several times."""

    closed = False

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, *size: int) -> bytes:
        return self._stream.read(*size)

    def close(self) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
