"""What a connector's configuration is, and what it should be.

Belongs here: comparing, and what must not be shown. Not here: asking or changing anything.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

HIDDEN = "(hidden)"
SECRET = re.compile(r"passw|secret|token|credential|jaas|private|passphrase|api.?key|access.?key|basic.?auth", re.I)
REFERENCE = re.compile(r"\$\{\w+:[^}]*\}")


@dataclass(frozen=True)
class Difference:
    """One field; `None`: it is not there. Values are fit to be shown."""

    field: str
    now: str | None
    wanted: str | None

    def __str__(self) -> str:
        if self.now is None:
            return f"+ {self.field}: {self.wanted}"
        if self.wanted is None:
            return f"- {self.field}: {self.now}"
        return f"~ {self.field}: {self.now} → {self.wanted}"


def differences(
    now: Mapping[str, str] | None, wanted: Mapping[str, str], secrets: Collection[str] = ()
) -> list[Difference]:
    """Fields that are not the same, by name. `secrets` are fields the worker calls passwords.

    `name` is left out: the worker adds it by itself.
    """
    there = now or {}
    return [
        Difference(field, shown(field, there.get(field), secrets), shown(field, wanted.get(field), secrets))
        for field in sorted((there.keys() | wanted.keys()) - {"name"})
        if there.get(field) != wanted.get(field)
    ]


def shown(field: str, value: str | None, secrets: Collection[str] = ()) -> str | None:
    """The value as people may see it. A reference that the worker resolves (`${env:…}`) is itself no secret."""
    if value is None or not (field in secrets or SECRET.search(field)):
        return value and re.sub(r"//[^/@\s]+@", "//***@", value)
    return value if REFERENCE.fullmatch(value) else HIDDEN
