"""Pieces of Avro's binary form that we write ourselves.

Belongs here: numbers, the head of a container. Not here: reading (avro_walk.py, avro_blocks.py).
"""

import json
from typing import Any


def container_header(schema: dict[str, Any], sync: bytes) -> bytes:
    """The beginning of an uncompressed container file."""
    meta = {b"avro.schema": json.dumps(schema).encode(), b"avro.codec": b"null"}
    entries = b"".join(zigzag(len(key)) + key + zigzag(len(value)) + value for key, value in meta.items())
    return b"Obj\x01" + zigzag(len(meta)) + entries + b"\0" + sync


def zigzag(number: int) -> bytes:
    """A non-negative long in Avro's variable length."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
