"""Writes the gate's rulebook into docs/risk-rules.md: `python tools/risk_doc.py`.

Owns the part of the page between its two marks. Must never touch what a person wrote around it.
Tests: tests/unit/tools/test_risk_doc.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from caopan.domain.risk.policy import RiskPolicy, parameters
from caopan.domain.risk.policy_limits import LIMITS, Kind
from caopan.domain.risk.question import Rule
from caopan.domain.risk.rulebook import RULEBOOK

PAGE = Path(__file__).resolve().parents[1] / "docs" / "risk-rules.md"
BEGIN, END = "<!-- rules: tools/risk_doc.py writes them -->", "<!-- end of rules -->"
_UNITS = {
    Kind.MONEY: "CNY, decimal string",
    Kind.SHARE: "fraction of 1, decimal string",
    Kind.COUNT: "whole number",
}


def rendered() -> str:
    """Return the rules, the exchange's first, and the limits of a policy as Markdown."""
    policy = RiskPolicy()
    parts = ["## Rules nobody can switch off", ""]
    parts += _rules(policy, [rule for rule in RULEBOOK if rule.exchange])
    parts += ["", "## Rules of the account's policy", ""]
    parts += _rules(policy, [rule for rule in RULEBOOK if not rule.exchange])
    parts += ["", "## Limits of a policy", "", _line(["limit", "written as", "most", "default"])]
    parts.append(_line(["---"] * 4))
    told = policy.as_json()["limits"]
    for name, limit in LIMITS.items():
        most = limit.most // 10_000 if limit.kind is Kind.MONEY else limit.most
        parts.append(_line([name, _UNITS[limit.kind], str(most), str(told.get(name, "not set"))]))
    parts += ["", "The built-in policy as a file:", "", "```json"]
    parts += [json.dumps(policy.as_json(), indent=2), "```", ""]
    return "\n".join(parts)


def with_rules(page: str, rules: str) -> str:
    """Return `page` with `rules` between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{rules}\n{END}{after}"


def main() -> int:
    """Rewrite the page; return 0."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_rules(page, rendered()), encoding="utf-8")
    return 0


def _rules(policy: RiskPolicy, rules: Iterable[Rule]) -> list[str]:
    lines = [_line(["code", "refuses", "拒绝情形", "limits (default)", "source"])]
    lines.append(_line(["---"] * 5))
    for rule in rules:
        limits = parameters(policy, rule.parameters)
        shown = ", ".join(f"{name} ({_value(value)})" for name, value in limits.items())
        lines.append(_line([", ".join(rule.codes), rule.en, rule.zh, shown, rule.source]))
    return lines


def _value(value: object) -> str:
    return "not set" if value is None else json.dumps(value)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
