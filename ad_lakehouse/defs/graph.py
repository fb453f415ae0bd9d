"""The dbt project as Dagster needs to know it: tables, what they read, tests, columns and where these come from.

Belongs here: the values and the file that holds them. Not here: making them from the project (prepare.py), turning
them into assets (models.py).

The file exists because dbt takes seconds to import and parse, and the code location is loaded by every run.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ad_lakehouse.dbt_delta.project import project_dir, target_folder
from ad_lakehouse.errors import LakehouseError

FORMAT = 2  # raise when the file's content means something else
IGNORED = {"target", "logs", "dbt_packages"}
REMEDY = "Run: python -m ad_lakehouse.defs.prepare"


class GraphNotPrepared(LakehouseError):
    """The dbt project was not read yet, or has changed since."""

    exit_code = 12


class Part(BaseModel):
    """Base of what stands in the file."""

    model_config = ConfigDict(frozen=True)


class DbtTest(Part):
    """A dbt test of one table; `blocking` when a failure is an error for dbt too."""

    name: str
    description: str = ""
    blocking: bool = True


class ModelNode(Part):
    """One table that dbt builds. `inputs`: table → which of its days an output day reads."""

    name: str
    select: str  # how dbt selects it
    inputs: Mapping[str, str]
    description: str = ""
    partition: str | None = None
    owner: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    file: str = ""
    code: str = ""  # the hash that the table's commits carry
    columns: Mapping[str, str] = {}  # name → description
    lineage: Mapping[str, tuple[tuple[str, str], ...]] = {}  # column → (table, column) it is made from
    tests: tuple[DbtTest, ...] = ()


class ModelGraph(Part):
    """All models, inputs before what reads them. `sources`: digest of the project's files that it was made from."""

    sources: str
    models: tuple[ModelNode, ...]

    @property
    def by_name(self) -> dict[str, ModelNode]:
        return {each.name: each for each in self.models}

    def below(self, tables: Collection[str]) -> dict[str, set[str]]:
        """Each model that reads one of `tables`, directly or not, with those of them that it reads."""
        found: dict[str, set[str]] = defaultdict(set)
        for model in self.models:
            for name in model.inputs:
                found[model.name] |= {name} & set(tables) | found.get(name, set())
        return {name: above for name, above in found.items() if above}


def graph_path(project: Path) -> Path:
    return target_folder(project) / "dagster_graph.json"


def sources_digest(project: Path) -> str:
    """Changes with every file of the project and with dbt's version."""
    digest = sha256(f"{FORMAT} {version('dbt-core')} {version('dbt-duckdb')} {version('ad-lakehouse')}".encode())
    for path in sorted(project.rglob("*")):
        place = path.relative_to(project)
        if path.suffix in {".sql", ".yml", ".yaml", ".md"} and not IGNORED & set(place.parts):
            digest.update(f"{place.as_posix()} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def read_graph(project: Path | None = None) -> ModelGraph:
    """The prepared graph. Raises `GraphNotPrepared` when there is none or the project has changed since."""
    folder = project or project_dir()
    path = graph_path(folder)
    if not path.exists():  # an image is prepared when it is built, and its project can't be written to when it runs
        path = folder / "target" / path.name
    try:
        graph = ModelGraph.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise GraphNotPrepared(f"The dbt project {folder} was not prepared for Dagster.", remedy=REMEDY) from None
    except ValidationError:
        raise GraphNotPrepared(f"{path} was written by another version.", remedy=REMEDY) from None
    if graph.sources != sources_digest(folder):
        raise GraphNotPrepared(f"The dbt project {folder} has changed since {path} was made.", remedy=REMEDY)
    return graph
