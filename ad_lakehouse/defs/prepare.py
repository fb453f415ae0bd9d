"""Reads the dbt project once, ahead of time, for the code location: `python -m ad_lakehouse.defs.prepare`.

Belongs here: compiling the project, gathering what Dagster shows of it. Not here: reading the result (graph.py).

The project is compiled against an empty lake in a temporary folder: compiled SQL does not depend on data.
"""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ad_lakehouse.dbt_delta.inputs import input_name
from ad_lakehouse.dbt_delta.model import Model
from ad_lakehouse.dbt_delta.plan import Dependency
from ad_lakehouse.dbt_delta.project import project_dir
from ad_lakehouse.defs.graph import (
    DbtTest,
    GraphNotPrepared,
    ModelGraph,
    ModelNode,
    graph_path,
    read_graph,
    sources_digest,
)
from ad_lakehouse.settings import Settings


def prepare(project: Path | None = None, *, bronze: dict[str, list[str]] | None = None) -> Path:
    """Writes the graph of the project if it is missing or has changed; returns its path. Takes about ten seconds.

    `bronze`: columns of the landed tables; by default those of the built-in sources. Raises `BuildFailed` when the
    project does not compile.
    """
    folder = (project or project_dir()).resolve()
    path = graph_path(folder)
    with suppress(GraphNotPrepared):
        read_graph(folder)
        return path
    graph = compiled_graph(folder, landed_columns() if bronze is None else bronze)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may load the code location at once: each sees a whole file.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, suffix=".tmp") as aside:
        aside.write(graph.model_dump_json(indent=1))
    Path(aside.name).replace(path)
    return path


def prepare_in_own_process(project: Path) -> None:
    """The same, without dbt staying in this process's memory. Raises `GraphNotPrepared` with what dbt said."""
    command = [sys.executable, "-m", __name__, str(project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise GraphNotPrepared(
            f"The dbt project {project} cannot be prepared: {(done.stderr or done.stdout).strip()[-2000:]}",
            remedy="Correct the project: `dbt parse` shows the same error.",
        )


def landed_columns() -> dict[str, list[str]]:
    """Columns of each bronze table."""
    from kafka_sinks.sources import bronze_schema, load_sources

    return {f"bronze.{name}": bronze_schema(source).names for name, source in load_sources().items()}


def compiled_graph(project: Path, bronze: dict[str, list[str]]) -> ModelGraph:
    """Compiles the project and gathers the graph. Raises `BuildFailed`."""
    from graphlib import TopologicalSorter

    from dagster_dbt import DagsterDbtTranslator

    from ad_lakehouse.dbt_delta.run import BuildFailed, invoke, model_of
    from ad_lakehouse.defs.lineage import column_lineage

    sources = sources_digest(project)
    with tempfile.TemporaryDirectory() as nowhere:
        settings = Settings(lake=os.path.join(nowhere, "lake"), storage_options={})  # noqa: PTH118 may be no path
        outcome = invoke(settings, ["compile", "--no-populate-cache"], project=project)
    if broken := [each for each in outcome.results if each.status == "error"]:
        raise BuildFailed("\n".join(f"{each.node.name}: {each.message}" for each in broken))
    nodes = [each.node for each in outcome.results]
    models = {
        node.unique_id: (node, model_of(node))
        for node in nodes
        if node.resource_type == "model" and node.config.materialized == "delta"
    }
    by_name = {str(model.name): (node, model) for node, model in models.values()}
    columns: dict[str, list[str]] = dict(bronze)
    found = []
    for name in TopologicalSorter({name: sorted(model.inputs) for name, (_, model) in by_name.items()}).static_order():
        if name in by_name:
            node, model = by_name[name]
            lineage = column_lineage(name, model.sql, {each: columns.get(each, []) for each in model.inputs})
            columns[name] = list(lineage) or list(node.columns)
            found.append((node, model, lineage))
    translator = DagsterDbtTranslator()
    tests = tests_of(nodes, [node.unique_id for node, _, _ in found])
    return ModelGraph(
        sources=sources,
        models=tuple(
            model_node(node, model, lineage, tests[node.unique_id], conventions(translator, node.to_dict()))
            for node, model, lineage in found
        ),
    )


def conventions(translator: Any, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Owner, group and tags of a model by the conventions of dagster-dbt (`meta: {dagster: {owners: …}}`)."""
    return {
        "owner": next(iter(translator.get_owners(properties) or ()), None),
        "group": translator.get_group_name(properties),
        "tags": tuple(sorted(translator.get_tags(properties))),
    }


def model_node(node: Any, model: Model, lineage: Any, tests: Iterable[DbtTest], told: Mapping[str, Any]) -> ModelNode:
    """A compiled dbt node as a value. `told`: its `conventions`."""
    windows: dict[str, list[str]] = defaultdict(list)
    for each in sorted(model.dependencies, key=str):
        windows[each.table].append(days_read(each))
    return ModelNode(
        name=str(model.name),
        select=".".join(node.fqn),
        inputs={table: ", ".join(days) for table, days in sorted(windows.items())},
        description=node.description,
        partition=model.partition,
        **{**told, "owner": told["owner"] or node.config.meta.get("owner")},
        file=node.original_file_path,
        code=model.code,
        columns={name: column.description for name, column in node.columns.items()},
        lineage=lineage,
        tests=tuple(tests),
    )


def days_read(dependency: Dependency) -> str:
    """`days -30..0` or `all`, as the name of the input says it."""
    inside = input_name(dependency).partition("[")[2].rstrip("]")
    return inside if inside == "all" else f"days {inside}"


def tests_of(nodes: Iterable[Any], models: Sequence[str]) -> dict[str, list[DbtTest]]:
    """The dbt tests of each of `models` (dbt ids, inputs first); a test of several is the last one's."""
    found: dict[str, list[DbtTest]] = defaultdict(list)
    for node in nodes:
        if node.resource_type == "test":
            parents = [each for each in models if each in node.depends_on.nodes]
            attached = str(getattr(node, "attached_node", None) or (parents[-1] if parents else ""))
            if attached in models:
                severe = str(node.config.severity).upper() == "ERROR"
                found[attached].append(DbtTest(name=node.name, description=node.description, blocking=severe))
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{prepare(Path(sys.argv[1]) if len(sys.argv) > 1 else None)}\n")
