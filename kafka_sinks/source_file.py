"""Reading a source's YAML, with errors that name file, line, field, value and remedy.

Belongs here: YAML to checked fields. Not here: what a source is (sources.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.yaml_places import Places, read_yaml


class SplitRule(BaseModel):
    """Which records of files that several sources share belong to this one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str = Field(description="The field that decides")
    values: tuple[str, ...] = Field(min_length=1, description="Its values that belong here")
    rest: bool = Field(False, description="Records that no source claims are rejected here, as unknown_type")


class SourceFields(BaseModel):
    """The fields of a source's YAML. All are optional when a built-in source of that name is overridden."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", description="Name of the bronze table; the file's name when absent")
    wire: Literal["json", "csv", "avro"] | None = None
    topic: str | None = Field(None, description="Kafka topic; absent: files only")
    files: tuple[str, ...] = Field((), description="Patterns below the drop folder, for example *.jsonl.gz")
    schema_file: str | None = Field(
        None, alias="schema", description="An .avsc beside this file; default: the built-in <name>.avsc"
    )
    mapping: dict[str, str] = Field(default_factory=dict, description="Our field: their name or dotted path")
    header: tuple[str, ...] | tuple[tuple[str, ...], ...] = Field(
        (), description="Columns of CSV records on the topic; a list of lists when there are several forms"
    )
    without_id: Literal["collapse", "keep"] = "collapse"
    dimension: bool = False
    split: SplitRule | None = None


@dataclass(frozen=True)
class SourceFile:
    """A YAML file of one source and where its fields stand."""

    path: Path
    data: dict[str, Any]
    places: Places

    @property
    def name(self) -> str:
        return str(self.data.get("name") or self.path.stem)

    def fail(self, field: Sequence[str | int], problem: str, remedy: str) -> NoReturn:
        """Raises with the file, the line of the field and its value."""
        value: Any = self.data
        for part in field:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                value = None
                break
        shown = "" if value is None else f" = {str(value)[:80]!r}"
        where = ".".join(str(part) for part in field)
        raise ConfigurationError(
            f"{self.path}:{self.places.line(tuple(field))}: field {where}{shown}: {problem}.", remedy=remedy
        )

    def checked(self, data: dict[str, Any]) -> SourceFields:
        """The fields of `data` (this file's, over those of an overridden source), each of the right type."""
        try:
            return SourceFields.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = [part for part in first["loc"] if not str(part).startswith("tuple[")]
            if first["type"] == "extra_forbidden":
                names = [each.alias or name for name, each in SourceFields.model_fields.items()]
                self.fail(place, "there is no such field", f"Use {', '.join(names)}.")
            self.fail(place, first["msg"].removeprefix("Value error, "), "Correct it.")


def read_source_file(path: Path) -> SourceFile:
    """One YAML file; raises `ConfigurationError` when it can't be read or is no mapping."""
    try:
        data, places = read_yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Source file {path}: {error}.", remedy="Make it readable UTF-8 text.") from None
    return SourceFile(path, data, places)
