"""The rulebook: whole, in words of the contract, in two languages."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import import_module
from pkgutil import iter_modules

import pytest

from caopan.domain.risk import rules
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.rulebook import RULEBOOK

# contracts.md, "Neutral error codes": Risk.
CONTRACT = {
    "RISK_PRICE_BAND",
    "RISK_PRICE_CAGE",
    "RISK_TICK",
    "RISK_LOT_SIZE",
    "RISK_MAX_ORDER_QTY",
    "RISK_ORDER_TYPE",
    "RISK_INSUFFICIENT_CASH",
    "RISK_TPLUS1",
    "RISK_NO_POSITION",
    "RISK_POSITION_CAP",
    "RISK_INDUSTRY_CAP",
    "RISK_GROSS_CAP",
    "RISK_ORDER_CAP",
    "RISK_MIN_ORDER",
    "RISK_NET_BUY_CAP",
    "RISK_TURNOVER_CAP",
    "RISK_PARTICIPATION",
    "RISK_IMPACT",
    "RISK_BLACKLIST",
    "RISK_SUSPENDED",
    "RISK_ST",
    "RISK_NEW_LISTING",
    "RISK_SESSION",
    "RISK_POSTURE",
    "RISK_KILL_SWITCH",
    "RISK_SELF_TRADE",
    "RISK_ORDER_RATE",
    "RISK_CANCEL_RATIO",
    "RISK_LOSS_HALT",
    "RISK_DUPLICATE",
    "RISK_STALE_PRICE",
    "RISK_STALE_ACCOUNT",
    "RISK_DRIFT",
    "RISK_CHURN",
    "RISK_NO_EXIT_PLAN",
    "RISK_NOT_ENTITLED",
    "RISK_NOT_REPORTED",
    "RISK_OUTSIDE_SLEEVE",
    "RISK_RULES_UNKNOWN",
    "RISK_EXPIRED",
}
# What no policy may switch off: the exchange's rules and the law.
EXCHANGE = {
    *("RISK_EXPIRED", "RISK_RULES_UNKNOWN", "RISK_SESSION", "RISK_SUSPENDED", "RISK_ORDER_TYPE"),
    *("RISK_TICK", "RISK_PRICE_BAND", "RISK_LOT_SIZE", "RISK_MAX_ORDER_QTY", "RISK_TPLUS1"),
    *("RISK_NO_POSITION", "RISK_INSUFFICIENT_CASH", "RISK_PRICE_CAGE", "RISK_ST"),
    *("RISK_NOT_ENTITLED", "RISK_NOT_REPORTED", "RISK_OUTSIDE_SLEEVE", "RISK_SELF_TRADE"),
    *("RISK_ORDER_RATE", "RISK_KILL_SWITCH"),
}
CODES = [code for rule in RULEBOOK for code in rule.codes]


def test_every_rule_file_is_in_the_book_once():
    files = {name for _, name, _ in iter_modules(rules.__path__)}
    listed = [import_module(f"caopan.domain.risk.rules.{name}").RULE for name in sorted(files)]
    assert len(RULEBOOK) == len(listed) == len(files)
    assert all(any(rule is entry for entry in RULEBOOK) for rule in listed)


def test_codes_are_of_the_contract_and_each_belongs_to_one_rule():
    assert set(CODES) == CONTRACT
    # The policy adds to what the exchange says of prices and of risk-warning stocks.
    twice = {code for code in CODES if CODES.count(code) > 1}
    assert twice == {"RISK_PRICE_BAND", "RISK_ST"}
    by_exchange = [code for rule in RULEBOOK if rule.exchange for code in rule.codes]
    assert len(by_exchange) == len(set(by_exchange))


def test_exchange_rules_are_flagged_and_no_policy_can_switch_them_off():
    assert {code for rule in RULEBOOK if rule.exchange for code in rule.codes} == EXCHANGE
    for rule in RULEBOOK:
        # Rates are the smaller of policy and exchange.
        assert not rule.exchange or not rule.parameters or "RISK_ORDER_RATE" in rule.codes


def test_every_part_of_the_policy_belongs_to_a_rule():
    # One is how a decision is judged as a whole, the other is kept by the hand.
    others = {"all_or_none", "order_timeout_s"}
    named = [name for rule in RULEBOOK for name in rule.parameters]
    assert len(named) == len(set(named))
    assert set(named) == {field.name for field in fields(RiskPolicy)} - others


@pytest.mark.parametrize("rule", RULEBOOK, ids=lambda rule: rule.codes[0])
def test_each_rule_speaks_both_languages_and_names_its_source(rule):
    assert re.search(r"[\u4e00-\u9fff]", rule.zh)
    assert rule.en.isascii()
    assert len(rule.en.split()) >= 3
    assert rule.source.strip()
    assert rule.codes
