"""YAML with the line of every field, so that an error can say where.

Belongs here: reading a file of ours and naming a place in it. Not here: what the files mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ad_lakehouse.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[str | int, ...]
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml when it is there: ten times faster


@dataclass(frozen=True)
class Places:
    """Where each field of one file stands."""

    path: Path
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        """Line (from 1) of a field, or of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def error(self, place: Place, value: Any, problem: str, remedy: str) -> ConfigurationError:
        """`file:3: field: value problem.`"""
        field = ".".join(str(part) for part in place) or "file"
        shown = "" if isinstance(value, dict | list) else f" {value!r}"
        return ConfigurationError(f"{self.path}:{self.line(place)}: {field}:{shown} {problem}.", remedy=remedy)

    def of_validation(self, error: ValidationError, at: Place, fields: Sequence[str] = ()) -> ConfigurationError:
        """The first thing pydantic found; `at` is where the validated part stands in the file."""
        first = error.errors(include_url=False)[0]
        place = (*at, *first["loc"])
        if first["type"] == "extra_forbidden":
            return self.error(place, first["loc"][-1], "is no field here", f"Use one of {', '.join(fields)}.")
        if first["type"] == "missing":
            return self.error(place[:-1], place[-1], "is missing", "Add it.")
        message = first["msg"].removeprefix("Value error, ")
        return self.error(place, first["input"], f"is not allowed: {message}", "Correct it.")


def validated(
    model: type[Model], content: Any, places: Places, at: Place = (), *, fields: Sequence[str] | None = None
) -> Model:
    """The content as a model; raises `ConfigurationError` with the place of what is wrong.

    Not raised inside `except`: pydantic's error is invisible to the garbage collector and would keep every frame
    below it alive to the end of the process.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = places.of_validation(error, at, sorted(model.model_fields) if fields is None else fields)
    raise problem


def read_yaml(path: Path) -> tuple[Any, Places]:
    """Content and places of a file; raises `ConfigurationError` when it is not YAML or says a key twice."""
    loader = Loader(path.read_text(encoding="utf-8"))
    try:
        node = loader.get_single_node()
        places = Places(path, {})
        _walk(node, (), places)
        content = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigurationError(f"{path}:{line}: not YAML: {error.problem}.", remedy="Correct that line.") from None
    finally:
        loader.dispose()
    if not isinstance(content, dict):
        raise places.error((), content, "is not a mapping", "Write `field: value` lines.")
    return content, places


def _walk(node: yaml.Node | None, place: Place, places: Places) -> None:
    if node is None:
        return
    places.lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            below = (*place, str(key.value))
            places.lines[below] = key.start_mark.line + 1
            if key.value in seen:
                raise places.error(below, key.value, "is there twice", "Keep one.")
            seen.add(key.value)
            _walk(value, below, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*place, index), places)
