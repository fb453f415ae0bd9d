"""What a demo came to, for a person: each number of the lake beside the truth it must equal.

Belongs here: reading results and laying them out. Not here: computing them (dbt_project), the truth (truth.py).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
from rich.console import Console
from rich.table import Table

from ad_lakehouse.dbt_delta.run import BuildReport
from ad_lakehouse.demo.home import DemoHome
from ad_lakehouse.demo.open_bandit import published_counts
from ad_lakehouse.demo.publish import REPLAY, Published, truth_of
from ad_lakehouse.demo.truth import GroundTruth
from ad_lakehouse.lake import Lake
from ad_lakehouse.landing import LandedAll
from ad_lakehouse.printing import by_reason, number, table
from ad_lakehouse.prompt import open_lake
from ad_lakehouse.quality.checkup import Checked
from ad_lakehouse.quality.freshness import FreshnessState

RIGHT, WRONG = "[green]✓[/]", "[bold red]✗[/]"
OPEN_BANDIT = "obd-"  # how ids of the replayed campaigns and events begin
LIVE = "live-"  # how user ids of live events begin


@dataclass
class Marks:
    """Marks a number as right or wrong; when live events have come in since, the truth says nothing of it."""

    comparable: bool
    wrong: int = 0

    def __call__(self, found: object, truth: object) -> str:
        if not self.comparable:
            return ""
        if found == truth:
            return RIGHT
        self.wrong += 1
        return f"{WRONG} {by_reason(Counter(truth)) if isinstance(truth, dict) else truth}"


def show(
    console: Console,
    demo: DemoHome,
    lake: Lake,
    published: Published,
    landed: LandedAll,
    built: BuildReport,
    checked: Sequence[Checked],
    fresh: Sequence[FreshnessState],
    taken: Sequence[tuple[str, float, int]],
) -> bool:
    """Prints the whole summary; returns whether every figure that has a known truth is equal to it."""
    truth = truth_of(demo)
    with open_lake(lake) as connection:
        live = one(connection, f"select count(*) from bronze.impressions where user_id like '{LIVE}%'")
        mark, published_ones = Marks(comparable=not live), Marks(comparable=True)
        console.print("\n[bold]What was sent, and what became of it[/]  (✓ equals the known truth)")
        console.print(sources(connection, truth, mark))
        console.print("[bold]Campaigns[/]  (last touch, by conversion date, net of invalid traffic)")
        console.print(campaigns(connection))
        console.print("[bold]Attribution against the known truth[/]  (conversions earned by last touch)")
        console.print(attribution(connection, truth, mark))
        if (demo.state / REPLAY).exists():
            weeks, counts = published_counts(demo.state / REPLAY)
            console.print(f"[bold]Real traffic[/]  (Open Bandit Dataset of November 2019, moved by {weeks} weeks)")
            made = table(
                "campaign",
                "impressions",
                "clicks",
                "CTR",
                "clicks published",
                "",
                right=["impressions", "clicks", "CTR", "clicks published"],
            )
            for campaign, shown, clicks in connection.execute(REPLAYED).fetchall():
                known = counts[campaign]
                same = published_ones((shown, clicks), (known.impressions, known.clicks))
                made.add_row(campaign, f"{shown:,}", f"{clicks:,}", f"{clicks / shown:.3%}", f"{known.clicks:,}", same)
            console.print(made)
    if live:
        console.print(f"{live:,} live impressions have come in since: the sums go beyond what was generated.")
    console.print("[bold]Steps[/]")
    console.print(steps(taken))
    failed = [each for each in checked if not each.outcome.passed]
    console.print(f"{len(checked)} checks: {len(checked) - len(failed)} pass, {len(failed)} do not.")
    for each in failed:
        outcome = each.outcome
        found = f"{outcome.value:,.4g}" if outcome.value is not None else "no value"
        line = f"  {outcome.severity} {each.table}: {outcome.title}: {found} ({outcome.threshold})"
        console.print(line, markup=False)
    for state in fresh:
        if state.state != "fresh":
            age = "nothing yet" if state.age is None else f"newest event {state.age.total_seconds() / 3600:.1f} h old"
            console.print(
                f"  alert freshness/{state.source}: {state.state}, {age} (window {state.window})", markup=False
            )
    if all(state.state == "fresh" for state in fresh):
        console.print(f"{len(fresh)} sources are fresh; a late one would alert (docs/alerts.md).")
    if published.again and not landed.records:
        rebuilt = sum(1 for each in built.results if each.figures.get("days_replaced"))
        console.print(f"Nothing was new: 0 records landed, {rebuilt} tables changed. Everything was there already.")
    console.print(NEXT.format(lake=lake.root, folder=demo.folder))
    return not mark.wrong + published_ones.wrong


NEXT = """
[bold]Look further[/]
  make ui                                  Dagster: assets, checks, runs     (make live in another terminal: data move)
  export AD_LAKEHOUSE_LAKE={lake}
  .venv/bin/ad-lakehouse sql "from marts.campaign_daily order by report_date, campaign_id limit 20"
  .venv/bin/ad-lakehouse quarantine list   what could not be read, and why
  .venv/bin/ad-lakehouse --help"""


def sources(connection: duckdb.DuckDBPyConnection, truth: GroundTruth, mark: Marks) -> Table:
    """One line a source, without the replayed real traffic."""
    made = table(
        "source", "sent", "accepted", "", "quarantined", "", "why", "duplicates", "", "same id, other content", "",
        "late",
        right=["sent", "accepted", "quarantined", "duplicates", "same id, other content", "late"],
    )  # fmt: skip
    for name, known in truth.sources.items():
        real = f"coalesce(event_id, '') not like '{OPEN_BANDIT}%'"
        accepted = one(connection, f"select count(*) from bronze.{name} where {real}")
        reasons = dict(
            connection.execute(
                "select _reason, count(*) from quarantine where source = ? group by 1 order by 2 desc, 1", [name]
            ).fetchall()
        )
        duplicates, conflicting = connection.execute(
            f"select coalesce(sum(natural_duplicates), 0)::bigint, count(parent_event_id) "
            f"from silver.{name} where {real}"
        ).fetchall()[0]
        made.add_row(
            name,
            f"{known.sent:,}",
            f"{accepted:,}",
            mark(accepted, known.accepted),
            number(sum(reasons.values())),
            mark(reasons, known.rejected),
            ", ".join(f"{reason} {count}" for reason, count in reasons.items()),
            f"{duplicates:,}",
            mark(duplicates, known.natural_duplicates),
            f"{conflicting:,}",
            mark(conflicting, known.conflicting),
            f"{known.late:,}",
        )
    return made


CAMPAIGNS = f"""
select campaign_name, currency, sum(impressions_net), sum(clicks_net), sum(conversions_last_net),
    sum(spend_micros_net) / 1e6, sum(revenue_micros_last_net) / 1e6
from marts.campaign_daily
where campaign_id not like '{OPEN_BANDIT}%'
group by all
order by 6 desc
"""
REPLAYED = f"""
select campaign_id, sum(impressions)::bigint, sum(clicks)::bigint
from marts.campaign_daily
where campaign_id like '{OPEN_BANDIT}%'
group by all
order by all
"""


def campaigns(connection: duckdb.DuckDBPyConnection) -> Table:
    """One line a campaign over all days."""
    columns = ["impressions", "clicks", "CTR", "conversions", "spend", "CPA", "revenue", "ROAS"]
    made = table("campaign", *columns, right=columns)
    for name, currency, shown, clicks, conversions, spend, revenue in connection.execute(CAMPAIGNS).fetchall():
        made.add_row(
            str(name or "(unknown)"),
            f"{shown:,.0f}",
            f"{clicks:,.0f}",
            f"{clicks / shown:.2%}" if shown else "",
            f"{conversions:,.0f}",
            f"{spend:,.2f} {currency}",
            f"{spend / float(conversions):,.2f}" if conversions else "",
            f"{revenue:,.2f} {currency}",
            f"{revenue / spend:.2f}" if spend else "",
        )
    return made


ATTRIBUTION = """
select campaign_id, sum(conversions_last)::double, sum(conversions_last_net)::double,
    sum(conversions_linear)::double, sum(conversions_decay)::double
from marts.campaign_daily
group by all
"""


def attribution(connection: duckdb.DuckDBPyConnection, truth: GroundTruth, mark: Marks) -> Table:
    """One line a campaign: last touch and its truth, beside two other models."""
    made = table(
        "campaign", "last touch", "truth", "", "net of bots", "truth", "", "linear", "time decay",
        right=["last touch", "truth", "net of bots", "linear", "time decay"],
    )  # fmt: skip
    found = {row[0]: row[1:] for row in connection.execute(ATTRIBUTION).fetchall()}
    for campaign, known in truth.campaigns.items():
        last, net, linear, decay = found.get(campaign, (0.0, 0.0, 0.0, 0.0))
        made.add_row(
            campaign, f"{last:,.0f}", f"{known.last:,}", mark(last, known.last),
            f"{net:,.0f}", f"{known.last_net:,}", mark(net, known.last_net), f"{linear:,.1f}", f"{decay:,.1f}",
        )  # fmt: skip
    organic = one(
        connection,
        "select coalesce(sum(credit_billionths), 0) // 1000000000 from attribution.credits "
        "where touch_id is null and model = 'last' and traffic = 'gross'",
    )
    known_organic = truth.conversions.organic
    made.add_row("(no touch)", f"{organic:,}", f"{known_organic:,}", mark(organic, known_organic), "", "", "", "", "")
    return made


def steps(taken: Sequence[tuple[str, float, int]]) -> Table:
    """One line a step: seconds and records a second."""
    made = table("step", "seconds", "records", "a second", right=["seconds", "records", "a second"])
    for name, seconds, records in taken:
        made.add_row(name, f"{seconds:.1f}", f"{records:,}", f"{records / seconds:,.0f}" if seconds else "")
    made.add_row("together", f"{sum(each[1] for each in taken):.1f}", "", "")
    return made


def one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """The single number a query gives."""
    return int(connection.execute(query).fetchall()[0][0])
