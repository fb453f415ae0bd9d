"""Reading the routes file, with errors that name file, line, field, value and remedy.

Belongs here: YAML to `Routes`. Not here: what it means (routes.py).
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ad_lakehouse.alerts.routes import Routes
from ad_lakehouse.errors import ConfigurationError

EXAMPLE = Path(__file__).with_name("routes.example.yml")
LARGEST = 1 << 20


def load_routes(path: Path | None) -> Routes:
    """The routes of a file; without a file everything goes to every configured channel."""
    if path is None:
        return Routes()
    remedy = f"Correct AD_LAKEHOUSE_ALERTS__ROUTES, or start from {EXAMPLE.name}."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"Routes file {path}: {error.strerror or error}.", remedy=remedy) from None
    if len(content) > LARGEST:
        raise ConfigurationError(f"Routes file {path}: larger than 1 MiB.", remedy=remedy)
    try:
        tree = yaml.compose(content, Loader=yaml.SafeLoader)
        data = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "is not readable"
        raise ConfigurationError(f"{path}, line {line}: not valid YAML: {problem}.", remedy="Correct it.") from None
    if data is None:
        return Routes()
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"{path}, line 1: expected the fields policy, routes and snoozes, found {type(data).__name__}.",
            remedy=f"See {EXAMPLE.name}.",
        )
    try:
        return Routes.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        raise ConfigurationError(
            f"{path}, line {line_of(tree, first['loc'])}: field {where} = {shown(first['input'])}: "
            + ("there is no such field." if unknown else first["msg"].removeprefix("Value error, ") + "."),
            remedy=f"Correct or remove it; {EXAMPLE.name} shows every field.",
        ) from None


def line_of(tree: yaml.Node | None, path: tuple[int | str, ...]) -> int:
    """The line of the deepest node on the path that exists."""
    node, line = tree, 1
    for part in path:
        below: Any = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    below, line = value, key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            below = node.value[part]
            line = below.start_mark.line + 1
        if below is None:
            break
        node = below
    return line


def shown(value: object) -> str:
    """A value as the user wrote it; an address is not repeated, since webhook addresses are secrets."""
    text = str(value)
    if "://" in text:
        return "an address (not shown; addresses belong in settings, routes name the channel)"
    return repr(text if len(text) <= 80 else text[:79] + "…")
