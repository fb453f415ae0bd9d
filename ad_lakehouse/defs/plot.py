"""A small bar chart for asset metadata, as an image inside markdown.

Belongs here: drawing. Not here: what is drawn (metadata.py).
"""

import base64
from collections.abc import Mapping
from datetime import date, timedelta
from html import escape

BARS = 45  # days shown, the newest ones
WIDTH, HEIGHT, GAP, TEXT = 12, 60, 3, 18  # pixels; TEXT is the line below the bars


def rows_per_day(rows: Mapping[date, int]) -> str:
    """Markdown with one bar a day, days without rows included. Text only when there is nothing to draw."""
    if not rows:
        return "no rows yet"
    last = max(rows)
    first = max(min(rows), last - timedelta(BARS - 1))
    days = [first + timedelta(number) for number in range((last - first).days + 1)]
    title = f"rows per day, {first} to {last}: at most {max(rows[day] for day in days if day in rows):,}"
    image = base64.b64encode(bars([rows.get(day, 0) for day in days], f"{first}", f"{last}", title).encode())
    return f"![{title}](data:image/svg+xml;base64,{image.decode()})"


def bars(values: list[int], left: str, right: str, title: str) -> str:
    """An SVG; its greys and blues are readable on light and dark ground."""
    width = max(len(values) * (WIDTH + GAP), 160)
    top = max(*values, 1)
    drawn = []
    for number, value in enumerate(values):
        height = max(round(value / top * HEIGHT), 1)
        drawn.append(
            f'<rect x="{number * (WIDTH + GAP)}" y="{HEIGHT - height}" width="{WIDTH}" height="{height}" '
            f'fill="{"#4c8bf5" if value else "#999"}"/>'
        )
    label = 'font-family="sans-serif" font-size="11" fill="#888"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT + TEXT}" role="img">'
        f"<title>{escape(title)}</title>{''.join(drawn)}"
        f'<text x="0" y="{HEIGHT + TEXT - 5}" {label}>{escape(left)}</text>'
        f'<text x="{width}" y="{HEIGHT + TEXT - 5}" text-anchor="end" {label}>{escape(right)}</text></svg>'
    )
