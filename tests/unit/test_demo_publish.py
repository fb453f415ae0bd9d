"""Publishing to files, and Open Bandit: written whole, once, with what the truth says in them."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import pytest

from ad_lakehouse.demo.config import GeneratorConfig
from ad_lakehouse.demo.generate import Generated, generate
from ad_lakehouse.demo.home import DemoHome
from ad_lakehouse.demo.open_bandit import CampaignCounts, OpenBanditUnavailable, Replay, replay_open_bandit
from ad_lakehouse.demo.publish import REPLAY, OtherDemo, publish, published_before, truth_of, write_note

END = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
CONFIG = GeneratorConfig(END, impressions=2_000, days=5)


@pytest.fixture(scope="module")
def generated() -> Generated:
    return generate(CONFIG)


@pytest.fixture(scope="module")
def replay(unavailable: Callable[[str], None]) -> Replay:
    try:
        return replay_open_bandit(END)
    except OpenBanditUnavailable as error:
        unavailable(str(error))
        raise


@pytest.fixture
def home(tmp_path: Path) -> DemoHome:
    return DemoHome(tmp_path)


def content(home: DemoHome) -> dict[str, tuple[int, bytes]]:
    """Time and bytes of every file, hidden ones too."""
    files = [path for path in home.drop.rglob("*") if path.is_file()]
    return {str(path.relative_to(home.drop)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def records_of(path: Path) -> int:
    """Records of a file as its format has them."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if path.suffix == ".avro":
        with path.open("rb") as stream:
            return sum(1 for _ in fastavro.reader(stream))
    lines = data.decode().count("\n")
    return lines - 1 if ".csv" in path.suffixes else lines


def test_files_hold_as_many_records_as_the_truth_says(generated: Generated, home: DemoHome) -> None:
    published = publish(generated, None, home)
    truth = truth_of(home)
    held: Counter[str] = Counter()
    for path in home.drop.glob("*"):
        if path.is_file():
            held[path.name.split("-")[0]] += records_of(path)
    assert held == {
        "impressions": truth.sources["impressions"].sent,
        "events": truth.sources["clicks"].sent + truth.sources["conversions"].sent,
        "bids": truth.sources["bid_requests"].sent,
    }
    assert truth == generated.truth(files_only=True)
    assert (published.files_only, published.messages, published.again) == (True, {}, False)
    assert published.files == len(content(home))
    assert {path.name for path in home.registry.iterdir()} == {"1.avsc", "2.avsc"}
    assert {path.suffix for path in home.drop.glob("events-*")} == {".csv", ".gz"}


def test_a_file_has_the_time_its_day_was_closed(generated: Generated, home: DemoHome) -> None:
    publish(generated, None, home)
    closed = {path.name[7:17]: path.stat().st_mtime for path in home.drop.glob("events-*")}
    assert closed.pop("2026-03-10") == END.timestamp()
    assert closed == {
        str(day.date()): (day + timedelta(days=1)).timestamp()
        for day in (datetime(2026, 3, number, tzinfo=UTC) for number in range(6, 10))
    }


def test_a_second_run_publishes_nothing_and_keeps_the_truth(generated: Generated, home: DemoHome) -> None:
    first = publish(generated, None, home)
    before = content(home)
    moved = generate(GeneratorConfig(END + timedelta(hours=5), impressions=2_000, days=5))
    again = publish(moved, None, home)
    assert (again.again, again.files, again.seconds) == (True, first.files, 0.0)
    assert published_before(moved.config, None, home) == again
    assert content(home) == before
    assert truth_of(home) == generated.truth(files_only=True)


def test_a_run_that_was_cut_off_begins_anew(generated: Generated, home: DemoHome) -> None:
    publish(generated, None, home)
    whole = content(home)
    write_note(home, {"status": "begun", "config": {}})
    stray = home.drop / "events-2025-01-01.csv"
    stray.write_text("of the run that was cut off")
    assert published_before(CONFIG, None, home) is None
    assert not publish(generated, None, home).again
    assert content(home) == whole
    assert not stray.exists()


def test_a_folder_with_another_demo_is_refused(generated: Generated, home: DemoHome) -> None:
    publish(generated, None, home)
    before = content(home)
    with pytest.raises(OtherDemo, match=r"seed 7.*seed 8"):
        publish(generate(GeneratorConfig(END, impressions=2_000, days=5, seed=8)), None, home)
    assert content(home) == before


def test_open_bandit_is_replayed_whole_with_its_published_clicks(replay: Replay) -> None:
    assert len(replay.impressions.payloads) == 60_000
    shown = Counter(json.loads(payload)["creative_id"].rsplit("-", 1)[0] for payload in replay.impressions.payloads)
    clicked = Counter(row.decode().split(",")[2] for row in replay.clicks)
    assert replay.campaigns == {name: CampaignCounts(shown[name], clicked[name]) for name in shown}
    # Counted in the dataset's own files with awk.
    assert {name: each.clicks for name, each in replay.campaigns.items()} == {
        "obd-bts-all": 42,
        "obd-bts-men": 69,
        "obd-bts-women": 46,
        "obd-random-all": 38,
        "obd-random-men": 46,
        "obd-random-women": 46,
    }
    ids = {json.loads(payload)["event_id"] for payload in replay.impressions.payloads}
    assert len(ids) == 60_000
    assert {row.decode().split(",")[6] for row in replay.clicks} <= ids


def test_open_bandit_moves_by_whole_weeks_to_just_before_the_end(replay: Replay) -> None:
    times = [json.loads(payload)["event_ts"] for payload in replay.impressions.payloads]
    first, last = (datetime.fromtimestamp(each / 1_000_000, UTC) for each in (min(times), max(times)))
    assert times == sorted(times)
    assert END - timedelta(weeks=2) < first < last < END
    assert (first - timedelta(weeks=replay.weeks)).date().isoformat() == "2019-11-24"
    assert first.strftime("%a %H:%M:%S") == "Sun 00:00:17"


def test_creatives_of_open_bandit_lead_to_its_campaigns(replay: Replay, generated: Generated, home: DemoHome) -> None:
    publish(generated, None, home, replay=replay)
    with (home.drop / "dimensions" / "creatives-open-bandit.csv").open() as stream:
        campaign_of = {row["creative_id"]: row["campaign_id"] for row in csv.DictReader(stream)}
    shown = {json.loads(payload)["creative_id"] for payload in replay.impressions.payloads}
    assert set(campaign_of) == shown
    assert set(campaign_of.values()) == set(replay.campaigns)
    assert records_of(home.drop / "open-bandit-clicks.csv") == sum(each.clicks for each in replay.campaigns.values())
    assert records_of(home.drop / "open-bandit-impressions.jsonl.gz") == 60_000
    assert (home.state / REPLAY).exists()
