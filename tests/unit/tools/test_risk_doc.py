"""docs/risk-rules.md lists every rule and limit as the gate holds them."""

import importlib.util
import json
import re
from pathlib import Path

from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.policy_limits import LIMITS
from caopan.domain.risk.rulebook import RULEBOOK

TOOL = Path(__file__).parents[3] / "tools" / "risk_doc.py"


def tool():
    spec = importlib.util.spec_from_file_location("risk_doc", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date():
    made = tool()
    page = made.PAGE.read_text("utf-8")
    assert page == made.with_rules(page, made.rendered()), "run python tools/risk_doc.py"


def test_every_rule_and_limit_is_shown():
    text = tool().rendered()
    for rule in RULEBOOK:
        assert f"| {', '.join(rule.codes)} | {rule.en} | {rule.zh} |" in text
        assert rule.source in text
    for name in LIMITS:
        assert f"| {name} | " in text


def test_the_policy_shown_is_read_back():
    told = re.search(r"```json\n(.*?)```", tool().rendered(), re.DOTALL)
    assert told
    assert RiskPolicy.from_json(json.loads(told[1])) == RiskPolicy()
