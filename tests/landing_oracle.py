"""The one promise of landing, as the tests of faults end with it: each record once, as it was sent.

Belongs here: comparing a table with an independent consumer. Not here: what the two hold (landing_topics.py).
"""

import json

from landing_service import wait_landed
from landing_topics import Witnessed, delivered, landed_records, notes, rows, witnessed

from ad_lakehouse.lake import Lake

VALUES = "_partition, _offset, _key, _reason, user_id, _raw"


def check(lake: Lake, bootstrap: str, topic: str, partitions: int = 2, told: str = "") -> None:
    """As `check_rows`, and the commits' notes count the same."""
    sent = check_rows(lake, bootstrap, topic, partitions, told)
    assert delivered(notes(lake)) == sent.places.total(), f"the commits count otherwise {told}"


def check_rows(lake: Lake, bootstrap: str, topic: str, partitions: int = 2, told: str = "") -> Witnessed:
    """The table of impressions holds what an independent read_committed consumer sees, and nothing twice.

    Each row bears the record's key; accepted ones its user, rejected ones its bytes. Gives what the consumer saw.
    """
    sent = witnessed(bootstrap, topic, partitions)
    landed = landed_records(lake, topic)
    lost, doubled = sorted(sent.places - landed), sorted(landed - sent.places)
    assert not lost, f"{len(lost)} records are lost, {lost[:5]} … {told}"
    assert not doubled, f"{len(doubled)} records are there twice, {doubled[:5]} … {told}"
    for partition, offset, key, reason, user, raw in rows(lake, VALUES, where=f"_topic = '{topic}'"):
        sent_key, payload = sent.records[partition, offset]
        place = f"partition {partition}, offset {offset} {told}"
        assert key == sent_key, place
        if reason is None:
            assert user == json.loads(payload or b"")["user_id"], place
        else:
            assert raw == payload, place
    return sent


def wait_and_check(lake: Lake, bootstrap: str, topic: str, partitions: int = 2, told: str = "") -> None:
    """The same of a service, which needs its time."""
    wait_landed(lake, topic, witnessed(bootstrap, topic, partitions).places.total())
    check(lake, bootstrap, topic, partitions, told)
