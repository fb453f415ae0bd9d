"""Writes macros/bot_user_agents.sql from the package crawler-user-agents (MIT).

    python dbt_project/scripts/bot_user_agents.py [FILE]

dbt needs no network and no Python package at run time, so the patterns stand in a macro. They are reduced: a pattern
whose own text a generic word already matches is left out. What is left is written without backslashes and look-around,
which both RE2 (DuckDB) and Java (Spark) read, also inside a SQL string.
"""

import re
import sys
from importlib.metadata import version
from pathlib import Path

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

TARGET = Path(__file__).parents[1] / "macros" / "bot_user_agents.sql"
# Words of programs that are not browsers, in any case. "ubot" is spared for the phones named Cubot.
GENERIC = (
    "(?i:(^|[^u])bot|crawl|spider|slurp|scrap(e|er|y)|fetcher|archiv|monitor|uptime|pingdom|headless|phantomjs"
    "|puppeteer|playwright|selenium|lighthouse|pagespeed|curl|wget|python|java/|okhttp|libwww|httpclient|http-client"
    "|httpunit|httpx|aiohttp|go-http|node-fetch|axios|guzzle|postman|preview|validator|checker|scanner|search-?engine)"
)
ANYTHING = r"[\s\S]"
CLASS = {r"\d": "[0-9]", r"\w": "[0-9A-Za-z_]", r"\s": "[ ]"}

# Messengers fetch previews under their bare name; a person inside them has a browser's agent with the name in it.
ANCHORED = {"Viber": "^Viber", "WhatsApp": "^WhatsApp"}


def without_backslashes(pattern: str) -> str:
    """The same pattern with `\\.` as `[.]` and `\\/` as `/`."""

    def plain(found: re.Match[str]) -> str:
        text = found.group()
        if text in CLASS:
            return CLASS[text]
        if text[1].isalnum():
            raise ValueError(f"{pattern!r}: {text} has no plain form; add it to CLASS")
        return text[1] if text[1] in "/-@ :+" and text[1] != "+" else f"[{text[1]}]"

    return re.sub(r"\\.", plain, pattern.replace(ANYTHING, "."))


def literal_text(pattern: str) -> str:
    """What a pattern surely matches: its text without the signs of the regular expression."""
    return re.sub(r"[\^$()\[\]|?*+{}\\]", "", pattern)


def patterns() -> list[str]:
    generic = re.compile(GENERIC)
    kept = []
    for entry in CRAWLER_USER_AGENTS_DATA:
        pattern = entry["pattern"]
        instances = entry["instances"]
        if instances and all(generic.search(each) for each in instances) and generic.search(literal_text(pattern)):
            continue
        kept.append(without_backslashes(ANCHORED.get(pattern, pattern)))
    return sorted(set(kept))


def main(target: Path) -> None:
    lines = [f"{each}|" for each in patterns()]
    lines[-1] = lines[-1][:-1]
    quoted = "".join(line.replace("'", "''") for line in lines)
    if "\\" in quoted or "{{" in quoted or "{%" in quoted:
        raise ValueError("A pattern would not survive SQL or Jinja")
    rows = [quoted[start : start + 110] for start in range(0, len(quoted), 110)]
    target.write_text(
        "{#\n"
        "  A regular expression of user agents that are programs, for flagging invalid traffic.\n"
        f"  Written by scripts/bot_user_agents.py from crawler-user-agents {version('crawler-user-agents')} (MIT,\n"
        "  https://github.com/monperrus/crawler-user-agents); change the script, not this file.\n"
        "#}\n"
        "{% macro bot_user_agents() -%}\n"
        "    {%- set generic -%}\n" + GENERIC.replace("'", "''") + "\n    {%- endset -%}\n"
        "    {%- set named = [\n"
        + "".join(f'        "{row}",\n' for row in rows)
        + "    ] -%}\n    {{- generic | trim }}|{{ named | join -}}\n{%- endmacro %}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
