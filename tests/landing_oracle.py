"""The one promise of landing, as the tests of faults end with it: each record once, as it was sent.

Belongs here: comparing a table with an independent consumer. Not here: what the two hold (landing_topics.py).
"""

import json

from landing_service import wait_landed
from landing_topics import delivered, landed_records, notes, rows, witnessed

from ad_lakehouse.lake import Lake

VALUES = "_partition, _offset, _key, _reason, user_id, _raw"


def check(lake: Lake, bootstrap: str, topic: str, partitions: int = 2, told: str = "") -> None:
    """The table of impressions holds what an independent read_committed consumer sees, and nothing twice.

    Each row bears the record's key; accepted ones its user, rejected ones its bytes. The commits' notes count the same.
    """
    sent = witnessed(bootstrap, topic, partitions)
    assert landed_records(lake, topic) == sent.places, told
    assert delivered(notes(lake)) == sent.places.total(), told
    for partition, offset, key, reason, user, raw in rows(lake, VALUES, where=f"_topic = '{topic}'"):
        sent_key, payload = sent.records[partition, offset]
        assert key == sent_key, told
        if reason is None:
            assert user == json.loads(payload or b"")["user_id"], told
        else:
            assert raw == payload, told


def wait_and_check(lake: Lake, bootstrap: str, topic: str, partitions: int = 2, told: str = "") -> None:
    """The same of a service, which needs its time."""
    wait_landed(lake, topic, witnessed(bootstrap, topic, partitions).places.total())
    check(lake, bootstrap, topic, partitions, told)
