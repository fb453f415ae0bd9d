"""Records of Avro container files to rows, in batches of bounded size.

Belongs here: batches, what a rejected record is kept as. Not here: cutting (avro_cut.py), decoding (avro_records.py).

A damaged block is one rejected row, since how many records it held can't be known. A rejected record is kept as a
container file of its own; `decode_batch` takes such payloads again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

import numpy as np
import pyarrow as pa

from ad_lakehouse.settings import LandingSettings
from kafka_sinks.decode.avro_blocks import ContainerUnreadable, Feed, read_header
from kafka_sinks.decode.avro_columns import merged
from kafka_sinks.decode.avro_cut import Records, read_records
from kafka_sinks.decode.avro_framing import containers_of
from kafka_sinks.decode.avro_records import decode_bodies
from kafka_sinks.decode.avro_schema import SchemaRefused, checked_schema
from kafka_sinks.decode.columns import present
from kafka_sinks.decode.finish import finish
from kafka_sinks.decode.verdicts import Verdicts, rows_of
from kafka_sinks.schemas import TIMESTAMP
from kafka_sinks.sources import Source


@dataclass(frozen=True)
class ContainerRows:
    """Consecutive rows of a container: `first` is the 0-based number of the first; none follow when `last`.

    `rows` as of `decode_batch`. `bodies` are the records' bytes, null for a damaged block.
    """

    rows: pa.Table
    bodies: pa.BinaryArray
    first: int
    last: bool
    schema: dict[str, Any]

    @property
    def end(self) -> int:
        return self.first + len(self.bodies)

    def raw(self, mask: pa.BooleanArray) -> pa.BinaryArray:
        """What the marked records are kept as when they are rejected after all; null for the others."""
        marked, container_of = mask.to_pylist(), containers_of(self.schema)
        kept = [
            container_of(body) if mark and body is not None else None
            for mark, body in zip(marked, self.bodies.to_pylist(), strict=True)
        ]
        return pa.array(kept, pa.binary())


def decode_avro_container(
    source: Source,
    stream: IO[bytes],
    time: datetime,
    *,
    limits: LandingSettings,
    origins: Callable[[pa.Int64Array], pa.StringArray] | None = None,
) -> Iterator[ContainerRows]:
    """Rows of a container file in batches of at most `limits.max_batch_rows`; at least one, the last marked so.

    `time`: the file's own, by which event times are judged. `origins` gives for row numbers the text that tells
    records apart (`without_id: keep`). Raises `ContainerUnreadable` when no block can be read at all.
    """
    feed = Feed(stream)
    header = read_header(feed)
    try:
        schema = checked_schema(header.schema)
    except SchemaRefused as error:
        raise ContainerUnreadable(
            f"The file's Avro schema is refused: {error}.", remedy="Write the file with a plain record schema."
        ) from None
    first = 0
    # Each rejected record is kept with the schema, and all of a batch may be rejected
    most_rows = max(1, min(limits.max_batch_rows, limits.max_batch_bytes // len(containers_of(schema)(b""))))

    def rows(held: Records, *, last: bool) -> ContainerRows:
        return _rows(source, schema, held, first, last, time, limits, origins)

    held = Records.none()
    for records in read_records(feed, header, schema):
        left = records
        while len(left):
            # Given before the next record, so that the last batch is known to be the last.
            if len(held) >= most_rows or held.size >= limits.max_batch_bytes:
                yield rows(held, last=False)
                first, held = first + len(held), Records.none()
            room = (limits.max_batch_bytes - held.size) * len(left) // max(1, left.size)
            taken = max(1, min(most_rows - len(held), room))
            held, left = held.with_more(left.part(0, taken)), left.part(taken, len(left))
    yield rows(held, last=True)


def _rows(
    source: Source,
    schema: dict[str, Any],
    records: Records,
    first: int,
    last: bool,
    time: datetime,
    limits: LandingSettings,
    origins: Callable[[pa.Int64Array], pa.StringArray] | None,
) -> ContainerRows:
    count, bodies = len(records), records.bodies
    verdicts = Verdicts(count)
    for row, damaged in records.damaged.items():
        verdicts.reject(np.array([row]), damaged.reason, damaged.error)
    whole = rows_of(present(bodies))
    parts = decode_bodies(source, schema, bodies.take(pa.array(whole)), 0, whole, verdicts)
    table = finish(
        source,
        merged(source, count, parts),
        bodies,
        pa.repeat(pa.scalar(time, TIMESTAMP), count),
        verdicts,
        limits,
        None if origins is None else origins(pa.array(np.arange(first, first + count))),
    )
    kept: list[bytes | None] = [None] * count
    container_of = containers_of(schema)
    for row in rows_of(~verdicts.accepted).tolist():
        body = bodies[row].as_py()
        kept[row] = records.damaged[row].raw if body is None else container_of(body)
    table = table.set_column(table.column_names.index("_raw"), "_raw", pa.array(kept, pa.binary()))
    return ContainerRows(table, bodies, first, last, schema)
