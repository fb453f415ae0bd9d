"""Reading the routes file, with errors that name file, line, field, value and remedy.

Belongs here: YAML to `Routes`. Not here: what it means (routes.py).
"""

from pathlib import Path

import yaml
from pydantic import ValidationError

from ad_lakehouse.alerts.routes import Routes
from ad_lakehouse.errors import ConfigurationError
from ad_lakehouse.yaml_places import read_yaml

EXAMPLE = Path(__file__).with_name("routes.example.yml")


def load_routes(path: Path | None) -> Routes:
    """The routes of a file; without a file everything goes to every configured channel."""
    if path is None:
        return Routes()
    remedy = f"Correct AD_LAKEHOUSE_ALERTS__ROUTES, or start from {EXAMPLE.name}."
    try:
        content, places = read_yaml(path)
    except OSError as error:
        raise ConfigurationError(f"Routes file {path}: {error.strerror or error}.", remedy=remedy) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Routes file {path}: not text in UTF-8: {error.args[0]}.", remedy=remedy) from None
    try:
        return Routes.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    # Not places.of_validation: it repeats the value, and an address put here by mistake is a secret.
    where = ".".join(str(part) for part in first["loc"])
    problem = "there is no such field" if first["type"] == "extra_forbidden" else first["msg"]
    raise ConfigurationError(
        f"{path}:{places.line(first['loc'])}: {where} = {shown(first['input'])}: "
        f"{problem.removeprefix('Value error, ')}.",
        remedy=f"Correct or remove it; {EXAMPLE.name} shows every field.",
    )


def shown(value: object) -> str:
    """A value as the user wrote it; an address is not repeated, since webhook addresses are secrets."""
    text = str(value)
    if "://" in text:
        return "an address (not shown; addresses belong in settings, routes name the channel)"
    return repr(text if len(text) <= 80 else text[:79] + "…")
