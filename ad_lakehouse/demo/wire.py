"""Events of the demo as the bytes that producers send: JSON and CSV rows.

Belongs here: good records, one encoder a source. Not here: Avro (avro_bids.py), what goes wrong
with records (troubles.py, delivery.py).

Columns beside those of traffic.py: `no_id` (sent without an id, and with required fields only), `unknown` (sent with
fields no source has), `variant` (differs between events that share an id).
"""

import csv
import io
from typing import Any

import numpy as np
import orjson

from ad_lakehouse.demo.population import Population
from ad_lakehouse.demo.traffic import CAMPAIGN_IDS, CREATIVE_IDS, CURRENCIES, SITES, Table, rows

CSV_COLUMNS = (
    "event_ts,user_id,campaign_id,conversion_type,event_id,creative_id,impression_id,order_id,status,revenue_micros,"
    "price_micros,currency,url,ip,user_agent,country,device,placement"
)
ODDITIES = ("no_id", "unknown", "variant")


def iso_times(table: Table) -> list[str]:
    """Event times as ISO 8601 in UTC with microseconds."""
    times: list[str] = np.datetime_as_string(table["ts"].astype("datetime64[us]"), timezone="UTC").tolist()
    return times


def impression_records(table: Table, people: Population) -> list[bytes]:
    """JSON objects. Apps (mobile) send event times as microseconds, browsers as text."""
    columns = ("id", "ts", "user", "creative", "site", "auction", "viewable", "price", "campaign", "agent", *ODDITIES)
    records = []
    for iso, row in zip(iso_times(table), rows(table, *columns), strict=True):
        event, ts, user, creative, site, auction, viewable, price, campaign, agent, no_id, unknown, variant = row
        device = people.device[user]
        record: dict[str, Any] = {
            "event_ts": ts if device == "mobile" else iso,
            "creative_id": CREATIVE_IDS[creative],
            "user_id": people.ids[user],
            "site": SITES[site],
        }
        if not no_id:
            record["event_id"] = f"i{event:016x}"
            record["url"] = f"https://{SITES[site]}/{auction % 997}" + (f"?v={variant}" if variant else "")
            record["auction_id"] = f"a{auction:016x}"
            if viewable >= 0:
                record["viewable"] = viewable == 1
            if price >= 0:
                record["price_micros"] = price
                if event % 4:  # some leave it out: then it is the advertiser's
                    record["currency"] = CURRENCIES[campaign]
            record["ip"] = people.address[user]
            record["user_agent"] = people.agents[agent]
            record["country"] = people.country[user]
            record["device"] = device
        if unknown:
            record["experiment"] = {"name": "layout", "arm": "AB"[event % 2]}
        # A copy: orjson's bytes keep the large buffer they were written to, 1.8 GB for 300,000 records.
        records.append(bytes(memoryview(orjson.dumps(record))))
    return records


def csv_row(*values: object) -> bytes:
    """One CSV record without its line end; None is an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue().encode()


def click_rows(table: Table, people: Population) -> list[bytes]:
    """Rows of the mixed file, as `CSV_COLUMNS` says."""
    records = []
    columns = ("id", "user", "creative", "campaign", "impression", "price", "agent", *ODDITIES)
    for iso, row in zip(iso_times(table), rows(table, *columns), strict=True):
        event, user, creative, campaign, impression, price, agent, no_id, unknown, variant = row
        name = CAMPAIGN_IDS[campaign]
        start = (iso, people.ids[user], name, "click")
        placement = "top" if unknown else None
        if no_id:
            records.append(csv_row(*start, *[None] * 13, placement))
            continue
        paid, currency = (price, CURRENCIES[campaign]) if price >= 0 else (None, None)
        url = f"https://shop.example/{name}" + (f"?v={variant}" if variant else "")
        known = (f"c{event:016x}", CREATIVE_IDS[creative], f"i{impression:016x}", None, None, None, paid, currency, url)
        client = (people.address[user], people.agents[agent], people.country[user], people.device[user])
        records.append(csv_row(*start, *known, *client, placement))
    return records


def conversion_rows(table: Table, people: Population) -> list[bytes]:
    """Rows of the mixed file, as `CSV_COLUMNS` says."""
    records = []
    columns = ("id", "user", "campaign", "kind", "order", "status", "revenue", "agent", *ODDITIES)
    for iso, row in zip(iso_times(table), rows(table, *columns), strict=True):
        event, user, campaign, kind, order, status, revenue, agent, no_id, unknown, variant = row
        start = (iso, people.ids[user], CAMPAIGN_IDS[campaign], kind)
        placement = "top" if unknown else None
        if no_id:
            records.append(csv_row(*start, *[None] * 13, placement))
            continue
        if order >= 0:
            bought: tuple[object, ...] = (f"o{order:016x}", status, revenue, None, CURRENCIES[campaign])
        else:  # a variant of an action without an order differs by what it is said to be worth
            worth = (variant * 1_000_000, None, CURRENCIES[campaign]) if variant else (None, None, None)
            bought = (None, None, *worth)
        client = (people.address[user], people.agents[agent], people.country[user], people.device[user])
        records.append(csv_row(*start, f"v{event:016x}", None, None, *bought, None, *client, placement))
    return records
