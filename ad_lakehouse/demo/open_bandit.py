"""Real ad traffic: the small Open Bandit Dataset, replayed as campaigns of their own.

60,000 impressions with clicks of a fashion shop, 24 to 30 November 2019, shown by two policies on three pages (Saito et
al., arXiv 2008.07146). It stands in the wheel of PyPI's `obp`, which is downloaded into the user's cache and read, not
installed.

Belongs here: getting the wheel, its rows as impressions and clicks, and the published counts. Not here: sending.

The week of 2019 is outside of what landing accepts, so all times are moved by one whole number of weeks, to the latest
week that is over; weekdays and times of day stay. Users: the dataset has none, so a hash of its four user features is
one, a segment. Clicks: it has no time of them, so each has that of its impression.
"""

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv

from ad_lakehouse.artefacts import aside, cache_folder, locked
from ad_lakehouse.demo.catalogue import table
from ad_lakehouse.demo.config import micros
from ad_lakehouse.demo.delivery import EVENT, Stream
from ad_lakehouse.demo.drop import dimension_files, lines, write_file
from ad_lakehouse.errors import LakehouseError

WHEEL = "obp-0.4.1-py3-none-any.whl"
SHA256 = "87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208"
POLICIES, PAGES = ("bts", "random"), ("all", "men", "women")
LAST_MOMENT = datetime.fromisoformat("2019-12-01T00:00:00+00:00")
ADVERTISER, SITE = "adv-open-bandit", "open-bandit-shop.example"
CLICKS_HEADER = "event_ts,user_id,campaign_id,conversion_type,event_id,creative_id,impression_id"


class OpenBanditUnavailable(LakehouseError):
    """The dataset's wheel can't be had."""

    exit_code = 33


@dataclass(frozen=True)
class CampaignCounts:
    """What the dataset itself says of one campaign."""

    impressions: int
    clicks: int


@dataclass(frozen=True)
class Replay:
    """The dataset as a source's records. `weeks`: by how many weeks its times were moved."""

    impressions: Stream
    clicks: list[bytes]
    dimensions: dict[str, str]
    campaigns: dict[str, CampaignCounts]
    weeks: int
    end: int

    @property
    def truth(self) -> dict[str, object]:
        """For the note: weeks moved, and counts by campaign."""
        counts = {name: [each.impressions, each.clicks] for name, each in self.campaigns.items()}
        return {"weeks": self.weeks, "campaigns": counts}

    def write_files(self, folder: Path, *, with_impressions: bool) -> list[Path]:
        """Writes dimensions and clicks, and on request the impressions."""
        paths = dimension_files(folder, self.dimensions, self.end)
        paths.append(folder / "open-bandit-clicks.csv")
        write_file(paths[-1], lines(CLICKS_HEADER.encode(), self.clicks), self.end)
        if with_impressions:
            paths.append(folder / "open-bandit-impressions.jsonl.gz")
            write_file(paths[-1], lines(None, self.impressions.payloads), self.end)
        return paths


def published_counts(path: Path) -> tuple[int, dict[str, CampaignCounts]]:
    """Weeks moved, and counts by campaign, of a replay that was published before."""
    data = json.loads(path.read_text())
    return data["weeks"], {name: CampaignCounts(*each) for name, each in data["campaigns"].items()}


def fetched_wheel(say: Callable[[str], None] = lambda _: None) -> Path:
    """The wheel in the user's cache, downloaded on first use (1.3 MB). Raises `OpenBanditUnavailable`."""
    wheel = cache_folder() / "open-bandit" / WHEEL
    with locked(wheel.parent):
        if wheel.is_file() and hashlib.sha256(wheel.read_bytes()).hexdigest() == SHA256:
            return wheel
        say("Fetching the Open Bandit Dataset (1.3 MB, once per user) …")
        wheel.parent.mkdir(parents=True, exist_ok=True)
        with aside(wheel) as work:
            download(work)
            (work / WHEEL).replace(wheel)
    return wheel


def download(folder: Path) -> None:
    """Downloads the wheel, with its hash checked, from the index pip is configured for."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"obp==0.4.1 --hash=sha256:{SHA256}\n")
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is None or done.returncode or not (folder / WHEEL).is_file():
        raise OpenBanditUnavailable(
            "The Open Bandit Dataset could not be fetched; the demo goes on without its replay.",
            remedy="The package index of pip must be reachable.",
        )


def replay_open_bandit(end: datetime, say: Callable[[str], None] = lambda _: None) -> Replay:
    """The dataset moved into the last weeks before `end`. Raises `OpenBanditUnavailable`."""
    weeks = (end - LAST_MOMENT) // timedelta(weeks=1)
    shift = timedelta(weeks=weeks) // timedelta(microseconds=1)
    records: list[tuple[int, bytes, bytes]] = []
    clicks: list[tuple[int, bytes]] = []
    campaigns, creatives = {}, []
    with zipfile.ZipFile(fetched_wheel(say)) as wheel:
        for campaign, policy, page in ((f"obd-{policy}-{page}", policy, page) for policy in POLICIES for page in PAGES):
            clicked, items = 0, set()
            data = wheel.read(f"obp/dataset/obd/{policy}/{page}/{page}.csv")
            for number, (moment, item, click, *features) in enumerate(wanted_columns(data)):
                ts = micros(datetime.fromisoformat(moment)) + shift
                creative, user, event = f"{campaign}-{item}", segment(features), f"{campaign}-{number:06d}"
                records.append((ts, user.encode(), impression(event, ts, creative, user)))
                if click == "1":
                    clicks.append((ts, f"{ts},{user},{campaign},click,{event}-click,{creative},{event}".encode()))
                    clicked += 1
                items.add(creative)
            campaigns[campaign] = CampaignCounts(number + 1, clicked)
            creatives += [(creative, campaign) for creative in sorted(items)]
    return Replay(
        stream_of(records), [row for _, row in sorted(clicks)], dimensions(creatives), campaigns, weeks, micros(end)
    )


def wanted_columns(data: bytes) -> Iterator[tuple[str, ...]]:
    """Of each row time, item, click and the four user features, as text; the files have 80 columns more."""
    wanted = ["timestamp", "item_id", "click", *(f"user_feature_{number}" for number in range(4))]
    options = pyarrow.csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()))
    read = pyarrow.csv.read_csv(pa.BufferReader(data), convert_options=options)
    return zip(*(read[name].to_pylist() for name in wanted), strict=True)


def segment(features: Sequence[str]) -> str:
    """A user: all impressions with the same user features."""
    return f"obd-segment-{hashlib.sha256('|'.join(features).encode()).hexdigest()[:12]}"


def impression(event: str, ts: int, creative: str, user: str) -> bytes:
    record = {"event_id": event, "event_ts": ts, "creative_id": creative, "user_id": user, "site": SITE}
    return bytes(memoryview(orjson.dumps(record)))


def stream_of(records: list[tuple[int, bytes, bytes]]) -> Stream:
    """The records in order of time."""
    records.sort()
    times = np.array([ts for ts, _, _ in records], dtype=np.int64)
    everywhere = np.ones(len(records), dtype=np.bool_)
    payloads, keys = [payload for _, _, payload in records], [key for _, key, _ in records]
    return Stream(payloads, keys, times, times, [EVENT] * len(records), everywhere, ~everywhere)


def dimensions(creatives: list[tuple[str, str]]) -> dict[str, str]:
    campaigns = [f"obd-{policy}-{page}" for policy in POLICIES for page in PAGES]
    return {
        "advertisers-open-bandit.csv": table(
            ("advertiser_id", "name", "time_zone", "currency"),
            [(ADVERTISER, "Open Bandit Dataset", "Asia/Tokyo", "JPY")],
        ),
        "campaigns-open-bandit.csv": table(
            ("campaign_id", "advertiser_id", "name"),
            [(each, ADVERTISER, f"Open Bandit, {each[4:]}") for each in campaigns],
        ),
        "creatives-open-bandit.csv": table(("creative_id", "campaign_id"), creatives),
        "sites-open-bandit.csv": table(("site", "publisher"), [(SITE, "Open Bandit Dataset")]),
    }
