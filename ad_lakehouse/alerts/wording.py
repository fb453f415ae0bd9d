"""How alerts speak of durations and cut long texts.

Belongs here: the few words that several channels share. Not here: what a channel's message looks like.
"""

from datetime import timedelta


def spoken(duration: timedelta) -> str:
    """`2 h 10 min` of a duration: the two largest units that count, at least seconds."""
    seconds = max(0, int(duration.total_seconds()))
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning with an ellipsis, at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
