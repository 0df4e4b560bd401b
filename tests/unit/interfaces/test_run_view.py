"""A finished run as shown: the object for a program, the table for a person."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import date, timedelta

import pytest
from rich.console import Console

from caopan.adapters.market_data.panel import Finding
from caopan.application.ports.market_data import DatasetInfo
from caopan.application.ports.store import NavPoint, Run, RunKind, RunStatus
from caopan.application.reporting import RunReport
from caopan.bootstrap.replaying import ReplayOutcome
from caopan.domain.ledger.chain import Fault, Verification
from caopan.interfaces.cli.output import Cli
from caopan.interfaces.cli.run_view import run_result, save_chart, show_run, stage_percentiles
from caopan.kernel.money import units
from caopan.messages import LANGUAGES
from caopan.testing.samples import DAY, NOW

HEAD = "ab" * 32


def nav_point(number: int, nav: int) -> NavPoint:
    return NavPoint(
        trading_day=DAY + timedelta(days=number),
        at=NOW,
        nav=nav,
        cash_free=nav,
        cash_frozen=0,
        market_value=0,
        fees_total=0,
        realised_total=0,
        benchmark=units(990_000),
    )


REPORT = RunReport(
    decisions=5,
    by_status={"executed": 2, "no_op": 2, "rejected_risk": 1},
    orders=3,
    fills=4,
    rejected_by_code={"RISK_LOT_SIZE": 2},
    model_failures={"MODEL_PARSE_FAIL": 1},
    nav=[nav_point(0, units(1_000_000)), nav_point(1, units("1012345.67"))],
    nav_start=units(1_000_000),
    nav_end=units("1012345.67"),
    fees=units("12.34"),
    verification=Verification(42, 0, HEAD),
    trace_coverage=1.0,
    estimated_entitlements=0,
)
OUTCOME = ReplayOutcome(
    run=Run(3, RunKind.DEMO, "sandbox", "0" * 64, {}, RunStatus.FINISHED, NOW),
    report=REPORT,
    info=DatasetInfo(
        label="synthetic market (seed 7)",
        synthetic=True,
        checksum="cd" * 32,
        first_day=DAY,
        last_day=DAY,
        symbols=("600001.SH",),
        rows=1,
        calendar="test",
        rules_citation="test",
    ),
    model_alias="builtin/momentum",
    is_language_model=False,
    stage_ms={"actor": [3.0, 1.0, 2.0], "risk": [0.5]},
    elapsed_s=1.23456,
    resumed=False,
    findings=(),
)
LOSS = replace(
    REPORT,
    nav=(),
    nav_end=units(900_000),
    model_failures={},
    verification=Verification(7, 0, HEAD, 8, Fault.HEAD_MISMATCH),
    trace_coverage=0.0,
)


def shown(cli: Cli, outcome: ReplayOutcome) -> str:
    screen = io.StringIO()
    show_run(cli, outcome, None, Console(file=screen, width=100, highlight=False))
    return screen.getvalue()


@pytest.fixture(params=LANGUAGES)
def cli(request, tmp_path) -> Cli:
    return Cli(lang=request.param, overrides={"home": str(tmp_path / "home")})


def test_the_object_has_the_parts_a_program_waits_for():
    result = run_result(OUTCOME)
    assert json.loads(json.dumps(result)) == result
    wanted = ["decisions", "by_status", "orders", "fills", "rejected_by_code", "nav_start"]
    wanted += ["nav_end", "fees", "ledger", "trace_coverage", "elapsed_s", "stage_ms"]
    assert set(wanted) <= set(result)
    assert result["ledger"] == {"entries": 42, "verified": True, "head": HEAD}
    assert (result["nav_start"], result["nav_end"], result["fees"]) == (
        "1000000.00",
        "1012345.67",
        "12.34",
    )
    assert result["stage_ms"]["actor"] == {"p50": 2.0, "p95": 3.0}
    assert result["elapsed_s"] == 1.235
    assert result["data"]["synthetic"] is True
    assert result["is_language_model"] is False


def test_a_broken_ledger_is_said_in_the_object():
    assert run_result(replace(OUTCOME, report=LOSS))["ledger"]["verified"] is False


def test_findings_are_counted_whole_and_listed_in_part():
    findings = [Finding("600001.SH", date(2023, 6, 1), "DATA_GAP", f"n{n}") for n in range(50)]
    data = run_result(replace(OUTCOME, findings=findings))["data"]
    assert data["findings_total"] == 50
    assert data["findings"][0] == "2023-06-01 600001.SH DATA_GAP: n0"
    assert 0 < len(data["findings"]) < 50


@pytest.mark.parametrize(
    ("times", "p50", "p95"),
    [
        ([7.0], 7.0, 7.0),
        ([2.0, 1.0], 1.5, 2.0),
        ([float(n) for n in range(100)], 49.5, 95.0),
        ([0.0004], 0.0, 0.0),
    ],
)
def test_percentiles(times, p50, p95):
    assert stage_percentiles({"risk": times}) == {"risk": {"p50": p50, "p95": p95}}


def test_no_times_are_no_stages():
    assert stage_percentiles({}) == {}


def test_a_person_sees_every_figure(cli):
    text = shown(cli, OUTCOME)
    for figure in ("5", "RISK_LOT_SIZE", "MODEL_PARSE_FAIL", "12.34", "1,012,345.67", "+1.23%"):
        assert figure in text
    assert "990,000.00 (-1.00%)" in text
    assert HEAD[:16] in text
    assert "100.0%" in text
    assert cli.tr("ledger.verified") in text
    assert cli.tr("run.not_a_model") in text
    # Cash is a yardstick too.
    assert "1,000,000.00 (+0.00%)" in text


def test_a_broken_ledger_is_said_to_a_person(cli):
    text = shown(cli, replace(OUTCOME, report=LOSS))
    assert cli.tr("ledger.broken") in text
    assert cli.tr("ledger.verified") not in text
    assert "900,000.00 (-10.00%)" in text


def test_a_language_model_is_not_called_none(cli):
    text = shown(cli, replace(OUTCOME, model_alias="deep-7", is_language_model=True))
    assert "deep-7" in text
    assert cli.tr("run.not_a_model") not in text


def test_names_from_outside_are_shown_and_not_obeyed(cli):
    info = replace(OUTCOME.info, label="a[bold red]b[/]\x1b[2J")
    text = shown(cli, replace(OUTCOME, info=info, model_alias="[link=x]m[/link]"))
    assert "a[bold red]b[/]" in text.replace("\n", "")
    assert "[link=x]m[/link]" in text
    assert "\x1b" not in text


def test_the_chart_is_saved_under_the_home_and_named_by_run(cli):
    path = save_chart(cli, OUTCOME)
    assert path is not None
    assert path == cli.settings.plots / "demo-3.html"
    page = path.read_text(encoding="utf-8")
    assert cli.tr("run.synthetic") in page
    assert ("zh-CN" if cli.lang == "zh" else "en") in page
    assert save_chart(cli, OUTCOME) == path


def test_a_run_without_a_closed_day_has_no_chart(cli):
    assert save_chart(cli, replace(OUTCOME, report=LOSS)) is None
    assert not cli.settings.plots.exists()
