"""The soak's drop folder: files added, renamed, copied, cut and mended while the folder is landed.

Belongs here: the files, landing them, what their rows must be. Not here: topics (soak_load.py).
"""

import gzip
import random
import shutil
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from landing_topics import IMPRESSIONS, impression, rows

from ad_lakehouse.files.files_table import read_rows
from ad_lakehouse.files.landing import land_files
from ad_lakehouse.lake import Lake, TableName
from ad_lakehouse.settings import LandingSettings, Settings
from kafka_sinks.commit import CommitContended, WriteFailed
from kafka_sinks.sources import load_sources

EVERY = 3.0  # seconds between two landings
RECORDS = 60
MIXED = (TableName("bronze", "clicks"), TableName("bronze", "conversions"))
HEADER = "event_ts,user_id,campaign_id,conversion_type\n"


class FileLoad:
    """A context manager that drops files and lands them between enter and exit.

    `did` counts what was done to files and what became of them; `errors` should stay empty.
    """

    def __init__(self, lake: Lake, folder: Path, seed: int) -> None:
        folder.mkdir()
        self._lake, self._folder, self._chance = lake, folder, random.Random(seed)
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._run)
        self._whole: dict[Path, bytes] = {}  # of files that are cut now
        self._expected: Counter[str] = Counter()
        self.did: Counter[str] = Counter()
        self.errors: list[BaseException] = []

    @property
    def rows(self) -> int:
        """Rows of all files, those that are cut now too."""
        return self._expected.total()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(180)

    def _run(self) -> None:
        try:
            while not self._stop.wait(EVERY):
                self._mend()
                self._chance.choice([self._add, self._add_mixed, self._add_cut, self._rename, self._copy])()
                self.land()
        except BaseException as error:  # noqa: BLE001  # the soak looks at them
            self.errors.append(error)

    def land(self) -> None:
        """Lands what is there; a lake that refuses is tried again the next time."""
        settings = Settings(landing=LandingSettings(max_batch_rows=25))  # several commits a file
        try:
            reports = land_files(self._lake, load_sources(), self._folder, settings)
        except (WriteFailed, CommitContended) as error:
            self.did[f"landing ended by {type(error).__name__}"] += 1
        else:
            self.did.update(each.outcome for each in reports if each.outcome != "already landed")

    def finish(self) -> None:
        """Mends what is cut, and lands the rest."""
        self._mend()
        self.land()

    def check(self) -> None:
        """Each row of each content is there once, and no file is left that did not land."""
        found: Counter[str] = Counter()
        for table in (IMPRESSIONS, *MIXED):
            accepted = rows(self._lake, "user_id", table, "_file is not null and _reason is null")
            rejected = rows(self._lake, "_raw", table, "_file is not null and _reason is not null")
            found.update(user for (user,) in accepted)
            found.update(raw.decode().rsplit(" ")[-1] for (raw,) in rejected)
        lost, doubled = self._expected - found, found - self._expected
        assert not lost, f"{lost.total()} rows of files are lost: {sorted(lost)[:5]} …"
        assert not doubled, f"{doubled.total()} rows of files are there twice: {sorted(doubled)[:5]} …"
        present = {path.name for path in self._folder.iterdir()}
        states = Counter(row.state for row in read_rows(self._lake, "path", present))
        assert set(states) <= {"landed", "duplicate"}, f"{states}"
        assert states.total() == len(present), "ops.files lacks a file"

    def _put(self, name: str, content: bytes) -> Path:
        """A file that is there whole at once."""
        aside = self._folder / f"{name}.tmp"
        aside.write_bytes(content)
        return aside.rename(self._folder / name)

    def _name(self) -> str:
        self.did["files"] += 1
        return f"f{self.did['files']}"

    def _impressions(self, name: str) -> bytes:
        users = [f"{name}-{number}" for number in range(RECORDS)]
        self._expected.update(users)
        lines = [
            impression(number, user_id=user) if number % 10 else f"{{bad {user}".encode()
            for number, user in enumerate(users)
        ]
        return b"\n".join(lines)

    def _add(self) -> None:
        name = self._name()
        self._put(f"{name}.jsonl", self._impressions(name))

    def _add_mixed(self) -> None:
        """Clicks and conversions in one file."""
        name = self._name()
        users = [f"{name}-{number}" for number in range(RECORDS)]
        kinds = ("click", "purchase")
        good = [f"{datetime.now(UTC).isoformat()},{user},c1,{kinds[i % 2]}\n" for i, user in enumerate(users)]
        self._expected.update(users)
        self._put(f"{name}.csv", (HEADER + "".join(good)).encode())

    def _add_cut(self) -> None:
        """Half a gzip file, mended before the next file comes."""
        name = self._name()
        content = gzip.compress(self._impressions(name))
        self._whole[self._put(f"{name}.jsonl.gz", content[: len(content) // 2])] = content
        self.did["cut"] += 1

    def _mend(self) -> None:
        for path, content in self._whole.items():
            self._put(path.name, content)
            self.did["mended"] += 1
        self._whole.clear()

    def _some(self) -> Path | None:
        there = sorted(path for path in self._folder.iterdir() if path not in self._whole)
        return self._chance.choice(there) if there else None

    def _rename(self) -> None:
        if path := self._some():
            path.rename(path.with_name(f"renamed-{self.did['renamed']}-{path.name[-30:]}"))
            self.did["renamed"] += 1

    def _copy(self) -> None:
        if path := self._some():
            aside = path.with_name(f"{path.name}.tmp")
            shutil.copy(path, aside)
            aside.rename(path.with_name(f"copy-{self.did['copied']}-{path.name[-30:]}"))
            self.did["copied"] += 1
