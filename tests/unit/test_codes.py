"""Every code a person can meet has a title in both languages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import caopan
from caopan.domain.risk.rulebook import RULEBOOK
from caopan.messages import LANGUAGES, catalogue

ROOT = Path(caopan.__file__).parent
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
NO_CODES = {
    "settings.py",  # names of variables
    "adapters/rules",  # names of tables and of cases
    "testing",  # not shown to anyone
}
WORDS = {
    "DECISION_ID",  # of help texts
    "ORDER_ID",
    "DATABASE_URL",
    "REDIS_URL",
    "INFERRED_LISTING",  # a finding on data, told in a sentence of its own
    "MAY_BE_AT_VENUE",  # names a module exports
    "NEVER_FILLED",
    "PG_VERSION",  # a file of PostgreSQL
}


def codes_of(tree: ast.AST) -> set[str]:
    """Return every text of a module that is written as a code is."""
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and CODE.fullmatch(text)}


def test_every_code_has_a_title_in_both_languages():
    used = dict[str, str]()
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if not any(place == name or place.startswith(f"{name}/") for name in NO_CODES):
            found = codes_of(ast.parse(path.read_text(encoding="utf-8")))
            used.update(dict.fromkeys(found, place))
    assert used.keys() >= WORDS, WORDS - used.keys()
    for lang in LANGUAGES:
        texts = catalogue(lang)
        untitled = {code: place for code, place in used.items() if f"error.{code}" not in texts}
        assert untitled.keys() <= WORDS, {k: v for k, v in untitled.items() if k not in WORDS}


def test_a_rules_title_is_what_the_rulebook_says():
    """The exchange's rule speaks where two share a code."""
    said = dict[str, tuple[str, str]]()
    for rule in sorted(RULEBOOK, key=lambda rule: not rule.exchange):
        for code in rule.codes:
            said.setdefault(code, (rule.en, rule.zh))
    for code, (english, chinese) in said.items():
        assert catalogue("en")[f"error.{code}"] == english
        assert catalogue("zh")[f"error.{code}"] == chinese
