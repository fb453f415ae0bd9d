"""The dbt models as assets: one step builds those that were selected, in one run of dbt.

Belongs here: specs of models and their checks, that step. Not here: building (dbt_delta), what dbt's project holds
(graph.py).

One run of dbt, since all models of a run read one version of each landed table; in this process, since dbt takes
seconds to start (docs/decisions). A model whose rows fail a blocking check is not published and its children are not
built; everything else is, and then the step fails with the reasons.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from ad_lakehouse.defs.checks import contract_results, contract_specs, published
from ad_lakehouse.defs.figures import table_figures
from ad_lakehouse.defs.freshness import pipeline_policy
from ad_lakehouse.defs.graph import ModelGraph, ModelNode
from ad_lakehouse.defs.instance_facts import failed_checks
from ad_lakehouse.defs.keys import asset_key, kinds, owners, table_name
from ad_lakehouse.defs.ledger import CHECK, ledger_results, ledger_spec
from ad_lakehouse.defs.metadata import build_metadata, check_result, lineage_metadata, table_metadata
from ad_lakehouse.defs.resources import lake_of
from ad_lakehouse.lake import TableName
from ad_lakehouse.quality.audit import CheckOutcome
from ad_lakehouse.quality.contracts import declared_checks
from ad_lakehouse.settings import Settings

Result = dg.MaterializeResult[None] | dg.AssetCheckResult
CREDITS = TableName("attribution", "credits")


@dataclass(frozen=True)
class Built:
    """What dbt did with the selected models: figures of those that were built, reasons for those that were not."""

    figures: Mapping[str, Mapping[str, object]]
    failed: Mapping[str, str]
    tests: Mapping[str, tuple[str, str]]  # dbt test → status, message

    @property
    def reasons(self) -> str:
        return "\n".join(f"{name}: {reason}" for name, reason in self.failed.items())


def model_spec(node: ModelNode, engine: str) -> dg.AssetSpec:
    """The asset of one model, which `engine` builds."""
    name = TableName.parse(node.name)
    reads = "\n".join(f"* {table}: {days}" for table, days in node.inputs.items())
    return dg.AssetSpec(
        asset_key(name),
        deps=[asset_key(table) for table in node.inputs],
        description=f"{node.description}\n\nFor one day of output it reads\n{reads}".strip(),
        group_name=node.group or name.layer,
        owners=owners(name, node.owner),
        kinds=kinds("dbt", engine),
        tags=dict.fromkeys(node.tags, ""),
        code_version=node.code[:12],
        metadata={"dbt_model": node.file, "partitioned_by": node.partition or "none", **lineage_metadata(node)},
        freshness_policy=pipeline_policy(),
    )


def model_checks(node: ModelNode, contract: Path | None) -> list[dg.AssetCheckSpec]:
    """dbt's tests, the contract's checks and, where it speaks of the table, the ledger."""
    name = TableName.parse(node.name)
    tests = [
        dg.AssetCheckSpec(
            each.name, asset=asset_key(name), description=each.description or None, blocking=each.blocking
        )
        for each in node.tests
    ]
    counted = name == CREDITS or (name.layer == "silver" and node.partition and f"bronze.{name.table}" in node.inputs)
    return [*tests, *(contract_specs(name, contract) if contract else []), *([ledger_spec(name)] if counted else [])]


def model_assets(
    graph: ModelGraph,
    contracts: Mapping[TableName, Path],
    landed: Collection[dg.AssetCheckKey],
    project: Path,
    engine: str = "duckdb",
) -> dg.AssetsDefinition:
    """The step that builds models.

    `landed`: blocking checks of landed tables; what reads a table that fails one is held back.
    """
    paths = {node.name: contracts.get(TableName.parse(node.name)) for node in graph.models}

    @dg.multi_asset(
        name="dbt_models",
        specs=[model_spec(each, engine) for each in graph.models],
        check_specs=[spec for each in graph.models for spec in model_checks(each, paths[each.name])],
        can_subset=True,
    )
    def dbt_models(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> Iterator[Result]:
        bad = {check.asset for check in failed_checks(context.instance, landed) if check.severity == "error"}
        built = build_selected(context, settings, graph, graph.below(bad), project)
        yield from materialisations(settings, graph, built)
        yield from test_results(context, graph, built)
        yield from checked(context, settings, paths, built)
        if built.failed:
            raise dg.Failure(
                f"{len(built.failed)} of {len(context.selected_asset_keys)} tables were not built.\n{built.reasons}"
            )

    return dbt_models


def build_selected(
    context: dg.AssetExecutionContext,
    settings: Settings,
    graph: ModelGraph,
    held: Mapping[str, set[str]],
    project: Path,
) -> Built:
    """Runs dbt for the selected models and tests, but not for those `held` back."""
    from ad_lakehouse.dbt_delta.run import build

    wanted = {str(table_name(key)) for key in context.selected_asset_keys}
    checks = {key.name for key in context.selected_asset_check_keys}
    failed = {
        name: f"not built, since a blocking check of {', '.join(sorted(tables))} fails"
        for name, tables in held.items()
        if name in wanted
    }
    select = selection(graph, wanted - failed.keys(), checks)
    if not select:
        return Built({}, failed, {})
    report = build(
        settings, select, tests=True, project=project,
        progress=lambda each: context.log.info(f"{each.name}: {each.status} in {each.seconds:.1f} s"),
    )  # fmt: skip
    figures, tests = {}, {}
    for each in report.results:
        if each.name not in graph.by_name:
            tests[each.name] = (each.status, each.message)
        elif each.ok:
            figures[each.name] = each.figures
        else:
            failed[each.name] = each.message or f"{each.status}, since what it reads was not built"
    return Built(figures, failed, tests)


def selection(graph: ModelGraph, models: Collection[str], checks: Collection[str]) -> list[str]:
    """dbt's selectors for these models, and for the dbt tests among `checks` whose model is not one of them."""
    select = [each.select for each in graph.models if each.name in models]
    return select + [
        test.name for each in graph.models if each.name not in models for test in each.tests if test.name in checks
    ]


def materialisations(settings: Settings, graph: ModelGraph, built: Built) -> Iterator[Result]:
    """One for each model that was brought up to date, also when nothing was stale."""
    for name, figures in built.figures.items():
        node = graph.by_name[name]
        table = table_figures(lake_of(settings), TableName.parse(name))
        yield dg.MaterializeResult(
            asset_key=asset_key(name),
            data_version=table.data_version,
            metadata={**table_metadata(table, node.columns), **build_metadata(figures, node)},
        )


def test_results(context: dg.AssetExecutionContext, graph: ModelGraph, built: Built) -> Iterator[Result]:
    """Results of dbt's tests that were selected."""
    for node in graph.models:
        for test in node.tests:
            status, message = built.tests.get(test.name, ("skipped", ""))
            key = dg.AssetCheckKey(asset_key(node.name), test.name)
            if status != "skipped" and key in context.selected_asset_check_keys:
                severity = dg.AssetCheckSeverity.WARN if status == "warn" else dg.AssetCheckSeverity.ERROR
                yield dg.AssetCheckResult(
                    asset_key=key.asset_key, check_name=test.name, passed=status == "pass", severity=severity,
                    description=message or status, metadata={"outcome": status},
                )  # fmt: skip


def checked(
    context: dg.AssetExecutionContext, settings: Settings, contracts: Mapping[str, Path | None], built: Built
) -> Iterator[Result]:
    """Results of the contracts and the ledger. Of a table that was not published, what kept it from being so."""
    from ad_lakehouse.quality.ledger import write_ledger

    lake, keys = lake_of(settings), context.selected_asset_check_keys
    there = set(lake.tables())
    with ExitStack() as stack:
        for name in sorted({str(table_name(key.asset_key)) for key in keys}):
            contract, table = contracts[name], TableName.parse(name)
            wanted = {key.name for key in keys if key.asset_key == asset_key(name)}
            if contract is not None and name in built.failed:
                yield from staged_failures(table, contract, wanted, built.failed[name])
            elif contract is not None and table in there:
                cursor = stack.enter_context(published(lake, table))
                yield from contract_results(cursor, table, contract, wanted)
    if any(key.name == CHECK for key in keys):
        yield from ledger_results(write_ledger(lake).rows, keys)


def staged_failures(
    name: TableName, contract: Path, wanted: Collection[str], reason: str
) -> Iterator[dg.AssetCheckResult]:
    """The blocking checks that `reason`, the error of a build, names: they failed on rows that were not published."""
    for each in declared_checks(contract):
        if each.blocking and each.name in wanted and f"{each.title}: " in reason:
            outcome = CheckOutcome(each.name, each.title, False, True, "error", threshold=each.body.limit)
            yield check_result(asset_key(name), outcome, f"\n{reason}")
