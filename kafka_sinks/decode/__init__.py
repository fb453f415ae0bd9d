"""Bytes to typed rows, a whole batch at once: one row for each record, accepted or rejected with its reason.

Belongs here: decoding JSON, CSV and Avro. Not here: where records come from (consume.py, ad_lakehouse/files),
their origin columns (origin.py), commits.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ad_lakehouse.settings import LandingSettings
from kafka_sinks.decode.avro_blocks import ContainerUnreadable
from kafka_sinks.decode.avro_files import ContainerRows, decode_avro_container
from kafka_sinks.decode.avro_framing import decode_framed
from kafka_sinks.decode.csv_records import HeaderUnfit, extract_csv, parse_header
from kafka_sinks.decode.fields import typed_fields
from kafka_sinks.decode.finish import finish
from kafka_sinks.decode.json_records import extract_json
from kafka_sinks.decode.registry import SchemaRegistry, open_registry
from kafka_sinks.decode.registry_api import RegistryUnavailable
from kafka_sinks.decode.verdicts import REASONS, Verdicts
from kafka_sinks.sources import Source

__all__ = [
    "REASONS",
    "ContainerRows",
    "ContainerUnreadable",
    "HeaderUnfit",
    "RegistryUnavailable",
    "SchemaRegistry",
    "decode_avro_container",
    "decode_batch",
    "decode_split",
    "open_registry",
    "parse_header",
    "split_rows",
]


def decode_batch(
    source: Source,
    payloads: pa.BinaryArray,
    times: pa.TimestampArray,
    *,
    limits: LandingSettings,
    registry: SchemaRegistry | None = None,
    origins: pa.StringArray | None = None,
    header: Sequence[str] | None = None,
) -> pa.Table:
    """One row for each payload, in order: business columns, event_date, _rescued, _synthetic_id, _reason, _error, _raw.

    `payloads`: one record each (JSON text; the text of one CSV record; Avro in Confluent's framing), null for none.
    `times`: when each was produced (UTC, microseconds, no nulls); event times are judged by it. `origins`: a text
    that tells records apart, for sources with `without_id: keep`. `header`: the columns of a CSV file; without it
    those the source states. A row is accepted when its `_reason` is null. Raises `RegistryUnavailable`.
    """
    verdicts = Verdicts(len(payloads))
    if source.wire == "json":
        typed = typed_fields(source, extract_json(source, payloads, verdicts), verdicts)
    elif source.wire == "csv":
        headers = [header] if header else source.headers
        typed = typed_fields(source, extract_csv(source, payloads, verdicts, headers), verdicts)
    else:
        typed = decode_framed(source, payloads, verdicts, registry)
    return finish(source, typed, payloads, times, verdicts, limits, origins)


def decode_split(
    sources: Sequence[Source],
    payloads: pa.BinaryArray,
    times: pa.TimestampArray,
    *,
    limits: LandingSettings,
    origins: pa.StringArray | None = None,
    header: Sequence[str] | None = None,
) -> Mapping[str, tuple[pa.Int64Array, pa.Table]]:
    """Decodes records of several sources that share their files: for each source its row numbers and rows.

    Each record belongs to exactly one source: by the value of the field its split names, else (unknown, absent or
    unreadable) to the one that takes the rest. A single source takes all.
    """
    shares = split_rows(sources, payloads, header)
    if len(sources) == 1:
        rows = decode_batch(sources[0], payloads, times, limits=limits, origins=origins, header=header)
        return {sources[0].name: (shares[sources[0].name], rows)}
    parts = {}
    for source in sources:
        mine = shares[source.name]
        parts[source.name] = (
            mine,
            decode_batch(
                source,
                payloads.take(mine),
                times.take(mine),
                limits=limits,
                origins=None if origins is None else origins.take(mine),
                header=header,
            ),
        )
    return parts


def split_rows(
    sources: Sequence[Source], payloads: pa.BinaryArray, header: Sequence[str] | None
) -> Mapping[str, pa.Int64Array]:
    """Which records belong to which source, as `decode_split` says."""
    everything = pa.array(range(len(payloads)), pa.int64())
    if len(sources) == 1:
        return {sources[0].name: everything}
    rest = next(source for source in sources if source.split and source.split.rest)
    claims = {source.name: _claimed(source, payloads, header) for source in sources if source is not rest}
    taken = pa.array([False] * len(payloads), pa.bool_())
    for claim in claims.values():
        taken = pc.or_(taken, claim)
    claims[rest.name] = pc.invert(taken)
    return {source.name: everything.filter(claims[source.name]) for source in sources}


def _claimed(source: Source, payloads: pa.BinaryArray, header: Sequence[str] | None) -> pa.BooleanArray:
    """Which records have a value of the split that is this source's."""
    assert source.split is not None  # noqa: S101  # sources that share files have one (sources.py)
    verdicts = Verdicts(len(payloads))
    if source.wire == "json":
        extracted = extract_json(source, payloads, verdicts)
    else:
        extracted = extract_csv(source, payloads, verdicts, [header] if header else source.headers)
    values = extracted.columns[source.split.by].values
    claimed = pc.is_in(values, pa.array(source.split.values, pa.string()))
    return pc.and_(claimed, pa.array(verdicts.accepted))
