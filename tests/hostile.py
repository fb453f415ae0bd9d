"""Input made to harm, and a process of its own to read it in.

Belongs here: pills in Avro, what a process told of itself when it ended. Not here: assertions.
"""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYNC = bytes(range(16))
WIDE = ["null", "string", "long"]  # a union the bulk reader does not take: such records are read one by one
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
# What a runaway reader may take before it is stopped, far above what is asserted
GUARD = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
"""
# ru_maxrss would begin with the peak of the process that started this one
TOLD = """
import json
peak = next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps({"told": told, "peak": peak}))
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, what it told, the most memory it held in MiB."""

    code: int
    told: Any
    peak: int
    errors: str


def run(program: str, *arguments: str, seconds: float = 60.0) -> Ended:
    """Runs Python that leaves what it has to tell in `told`."""
    here = Path(__file__).parent
    ended = subprocess.run(
        [sys.executable, "-c", GUARD + program + TOLD, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    last = json.loads(ended.stdout.splitlines()[-1]) if ended.returncode == 0 else {"told": None, "peak": 0}
    return Ended(ended.returncode, last["told"], last["peak"], ended.stderr[-2_000:])


def number(value: int) -> bytes:
    """A long of 64 bits in Avro's variable length."""
    rest = ((value << 1) ^ (value >> 63)) & (1 << 64) - 1
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def record(**types: Any) -> dict[str, Any]:
    return {"type": "record", "name": "W", "fields": [{"name": name, "type": kind} for name, kind in types.items()]}


def bid(**types: Any) -> dict[str, Any]:
    """A minimal bid request, with more fields."""
    texts = {"type": "array", "items": "string"}
    return record(**types, user_id="string", auction_id="string", event_ts=MICROS, targeting=texts)


def bid_bytes(micros: int = 1_772_366_400_000_000) -> bytes:
    """The fields of a minimal bid request of 2026-03-01."""
    return number(1) + b"u" + number(1) + b"a" + number(micros) + b"\0"


def nested(kind: str, depth: int) -> str:
    """The text of a schema nested so deep."""
    opening = {
        "record": '{"type":"record","name":"N%d","fields":[{"name":"x","type":',
        "array": '{"type":"array","items":',
        "map": '{"type":"map","values":',
        "union": '["null",',
        "type": '{"type":',
    }[kind]
    closing = {"record": "}]}", "union": "]"}.get(kind, "}")
    begin = "".join(opening % level if "%d" in opening else opening for level in range(depth))
    return json.dumps(bid(deep="@")).replace('"@"', begin + '"string"' + closing * depth)


LIST_OF_NOTHING = {"type": "array", "items": "null"}
MANY = number(2**60)
# Each: the text of the writer's schema, and a record
PILLS: dict[str, tuple[str, bytes]] = {
    **{f"{kind} nested {depth} deep": (nested(kind, depth), once * depth + b"\2x" + end * depth + bid_bytes())
       for kind, once, end in (("record", b"", b""), ("array", b"\2", b"\0"), ("map", b"\2\2k", b"\0"),
                               ("union", b"\2", b""), ("type", b"", b""))
       for depth in (60, 130, 250, 6_000)},
    "recursive": ('{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}', b"\2" * 6_000),
    "list of 2^60 nulls": (json.dumps(bid(x=LIST_OF_NOTHING)), MANY + b"\0" + bid_bytes()),
    "list of 2^60 nulls, read alone": (json.dumps(bid(w=WIDE, x=LIST_OF_NOTHING)), b"\0" + MANY + b"\0" + bid_bytes()),
    "list of -2^60 nulls": (json.dumps(bid(w=WIDE, x=LIST_OF_NOTHING)), b"\0" + number(-(2**60)) + b"\0\0"),
    "list of 2^60 fixed of no bytes": (
        json.dumps(bid(w=WIDE, x={"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}})),
        b"\0" + MANY + b"\0" + bid_bytes(),
    ),
    "list of 2^60 empty records": (
        json.dumps(bid(x={"type": "array", "items": {"type": "record", "name": "E", "fields": []}})),
        MANY + b"\0" + bid_bytes(),
    ),
    "blocks of 10,000 nulls": (json.dumps(bid(x=LIST_OF_NOTHING)), number(10_000) * 20_000 + b"\0" + bid_bytes()),
    "lists of 10,000 nulls": (
        json.dumps(bid(x={"type": "array", "items": LIST_OF_NOTHING})),
        number(20_000) + (number(10_000) + b"\0") * 20_000 + b"\0" + bid_bytes(),
    ),
    "nulls behind a long list": (
        json.dumps(bid(s={"type": "array", "items": "int"}, x=LIST_OF_NOTHING)),
        number(300) + b"\0" * 300 + b"\0" + MANY + b"\0" + bid_bytes(),
    ),
    "map of 2^60 entries": (json.dumps(bid(w=WIDE, x={"type": "map", "values": "null"})), b"\0" + MANY + b"\0"),
    "map of -2^60 entries": (json.dumps(bid(x={"type": "map", "values": "int"})), number(-(2**60)) + number(2**60)),
    "list of the least long": (json.dumps(bid(x={"type": "array", "items": "int"})), number(-(2**63)) + b"\0\0"),
    "text of 2^62 bytes": (json.dumps(bid(x="string")), number(2**62) + b"x"),
    "text of 2^62 bytes, read alone": (json.dumps(bid(w=WIDE, x="string")), b"\0" + number(2**62) + b"x"),
    "text of 2^33 bytes, read alone": (json.dumps(bid(w=WIDE, x="string")), b"\0" + number(2**33) + b"x"),
    "text of -1 bytes": (json.dumps(bid(x="bytes")), number(-1) + b"x"),
    "branch 2^60 of a union": (json.dumps(bid(x=WIDE)), MANY + bid_bytes()),
    "symbol 2^60 of an enum": (json.dumps(bid(x={"type": "enum", "name": "E", "symbols": ["A"]})), MANY + bid_bytes()),
    "fixed of 2^40 bytes": (json.dumps(bid(x={"type": "fixed", "name": "F", "size": 2**40})), bid_bytes()),
    "symbols of a megabyte": (
        json.dumps(bid(x={"type": "enum", "name": "E", "symbols": ["A" * 500_000, "B" * 500_000]})), b"\0" + bid_bytes()
    ),
    "a list of symbols": (
        json.dumps(bid(x={"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["A" * 250]}})),
        number(4 << 20) + b"\0" * (4 << 20) + b"\0" + bid_bytes(),
    ),
    "a union of 9,000 branches": (
        json.dumps(bid(x=[{"type": "fixed", "name": f"F{n}", "size": n} for n in range(9_000)])), MANY + bid_bytes()
    ),
}  # fmt: skip


def container(schema: str, blocks: Iterable[tuple[int, bytes]], codec: str = "null") -> bytes:
    """A container file of the blocks (number of records, packed bytes) as they are given."""
    meta = {"avro.schema": schema, "avro.codec": codec}
    entries = b"".join(number(len(each)) + each.encode() for pair in meta.items() for each in pair)
    head = b"Obj\x01" + number(len(meta)) + entries + b"\0" + SYNC
    return head + b"".join(number(count) + number(len(data)) + data + SYNC for count, data in blocks)


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()
