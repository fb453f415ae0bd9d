"""kill -9 of a Dagster run between a landing's commit and the event that tells of it: nothing is landed twice.

Belongs here: landing as an asset that dies. Not here: a sink that dies (test_kill_sink.py).
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from landing_oracle import check
from landing_topics import impression, impressions_from, landed_records, new_topic, publish, settings_for

from ad_lakehouse.defs.keys import asset_key
from ad_lakehouse.defs.landing import landing_asset
from ad_lakehouse.defs.resources import drop_of_run
from ad_lakehouse.lake import Lake

pytestmark = pytest.mark.kafka
KEY = asset_key("bronze.impressions")
RUN = """
import os, signal, sys
import dagster as dg
from ad_lakehouse.defs.landing import landing_asset
from ad_lakehouse.defs.resources import drop_of_run
from ad_lakehouse.settings import Settings
from landing_topics import impressions_from

home, topic, settings = sys.argv[1:]
with dg.DagsterInstance.local_temp(home) as instance:
    storage = type(instance.event_log_storage)
    store = storage.store_event
    def stored(self, entry):
        if entry.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            os.kill(os.getpid(), signal.SIGKILL)
        store(self, entry)
    storage.store_event = stored
    asset = landing_asset([impressions_from(topic)], None)
    given = {"settings": Settings.model_validate_json(settings), "drop": drop_of_run}
    dg.materialize([asset], instance=instance, resources=given)
"""


def test_an_asset_killed_before_its_event_lands_nothing_twice(kafka, lake: Lake, tmp_path: Path) -> None:
    topic, home = new_topic(kafka.bootstrap), tmp_path / "dagster"
    home.mkdir()
    publish(kafka.bootstrap, topic, [impression(i) if i % 9 else b"{bad" for i in range(100)])
    settings = settings_for(kafka.bootstrap, max_batch_rows=40)
    settings.lake = lake.root
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(home), topic, settings.model_dump_json()],
        env=os.environ | {"PYTHONPATH": paths},
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    assert landed_records(lake, topic).total() == 100, "the kill came before the commits"
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        assert instance.get_latest_materialization_event(KEY) is None, "the event was stored before the kill"
        publish(kafka.bootstrap, topic, [impression(i) for i in range(10)])
        again = dg.materialize(
            [landing_asset([impressions_from(topic)], None)],
            instance=instance,
            resources={"settings": settings, "drop": drop_of_run},
        )
        (event,) = again.get_asset_materialization_events()
        told = event.materialization.metadata
        assert told["batches"].value > 1, "what the killed run landed was told to nobody yet"
        assert told["rows"].value + told["quarantined"].value == 110
        assert instance.get_latest_materialization_event(KEY) is not None
    check(lake, kafka.bootstrap, topic)
