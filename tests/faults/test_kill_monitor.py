"""The stream monitor dies by kill -9 and goes on: each window's count is what was sent, once."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from landing_topics import impressions_from, new_topic, witnessed
from monitor_topics import Event, counts, monitor_settings, send

from ad_lakehouse.demo.broker import KafkaBroker
from ad_lakehouse.lake import Lake
from ad_lakehouse.monitor.run import Monitor

pytestmark = pytest.mark.kafka
MONITOR = """
import os, signal, sys
from ad_lakehouse.lake import Lake
from ad_lakehouse.monitor.run import Monitor
from kafka_sinks.commit import BronzeTable
from landing_topics import impressions_from
from monitor_topics import monitor_settings

root, bootstrap, topic = sys.argv[1:]
commit, calls = BronzeTable._commit, []

def dying(*how):
    {before}
    calls.append(None)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    {after}

BronzeTable._commit = dying
settings = monitor_settings(bootstrap, {{"max_batch_rows": 700}}, commit_seconds=0.01)
Monitor(Lake(root), [impressions_from(topic)], settings).session(until_drained=True)
"""


def killed_monitor(lake: Lake, bootstrap: str, topic: str, before: str, after: str) -> int:
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    script = MONITOR.format(before=before, after=after)
    done = subprocess.run(
        [sys.executable, "-c", script, lake.root, bootstrap, topic],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.parametrize(
    ("before", "after"), [("pass", "commit(*how)"), ("commit(*how)", "pass")], ids=["before_commit", "after_commit"]
)
def test_no_window_loses_or_doubles_a_count_when_the_monitor_is_killed(
    kafka: KafkaBroker, lake: Lake, before: str, after: str
) -> None:
    start = time.time() // 10 * 10 - 600
    events = [
        Event(
            start + n / 50 - (100 if n % 97 == 0 else 0), start + n / 50, str(n - 1 if n % 50 == 1 else n), n % 40 > 0
        )
        for n in range(20_000)
    ]  # fmt: skip
    topic = new_topic(kafka.bootstrap)
    send(kafka.bootstrap, topic, events)
    stored = witnessed(kafka.bootstrap, topic).records
    for partition in (0, 1):  # what is late depends on the order
        payloads = [stored[place][1] for place in sorted(stored) if place[0] == partition]
        assert payloads == [each.payload for each in events[partition::2]]
    died = 0
    while killed_monitor(lake, kafka.bootstrap, topic, before, after) and died < 20:
        died += 1
    assert 2 <= died < 20
    settings = monitor_settings(kafka.bootstrap)
    Monitor(lake, [impressions_from(topic)], settings).session(until_drained=True)
    truth = Counter(int(each.at // 10 * 10) for each in events if each.good)
    assert counts(lake) == truth
    assert counts(lake, "arrived").total() == len(events)
    assert counts(lake, "invalid").total() == sum(not each.good for each in events)
    late = [e for n, e in enumerate(events) if e.good and e.at < e.sent and n > 1]
    assert counts(lake, "late").total() == len(late)
    good = [each.event_id for each in events if each.good]
    assert counts(lake, "duplicates").total() == len(good) - len(set(good))
