"""JSON texts of single values to plain texts.

Belongs here: what both readers of JSON records need. Not here: records (json_plain.py, json_records.py).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kafka_sinks.decode.columns import Column, blank, octet, one_array, query, replace
from kafka_sinks.decode.verdicts import rows_of


def unquoted(values: pa.Array) -> Column:
    """JSON texts of one field as plain texts, with the kind of each; a JSON null is null."""
    kinds = octet(values, 0)
    null = kinds == ord("n")
    quoted = kinds == ord('"')
    plain = values
    if quoted.any():
        plain = pc.binary_slice(values.cast(pa.binary()), 1, -1)
        plain = pa.Array.from_buffers(pa.string(), len(plain), plain.buffers(), offset=plain.offset)
        if not (quoted | (kinds == 0)).all():
            plain = pc.if_else(pa.array(quoted), plain, values)
        escaped = quoted & pc.fill_null(pc.match_substring(plain, "\\"), False).to_numpy(zero_copy_only=False)
        if escaped.any():
            rows = rows_of(escaped)
            read = query("SELECT o, json_extract_string(x, '$') AS v FROM t", x=values.take(pa.array(rows)))
            plain = replace(plain, rows, one_array(read["v"]))
    if null.any():
        plain = blank(plain, null)
    return Column(plain, np.where(null, 0, kinds).astype(np.uint8))
