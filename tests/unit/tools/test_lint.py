"""The house's linters: each rule finds what it is for, and nothing else."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINTERS = ("sizes", "exact_money", "commits", "names")


@pytest.fixture
def found(monkeypatch):
    """Return the rules that find something in one module of the package."""
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "lint"))
    source_of = importlib.import_module("finding").Source

    def check(path: str, text: str) -> list[str]:
        where = Path("src", "caopan", path)
        source = source_of(where, text.splitlines(), ast.parse(text))
        findings = [one for name in LINTERS for one in importlib.import_module(name).check(source)]
        assert all(str(one).startswith(f"{where}:{one.line}: {one.rule}: ") for one in findings)
        return [one.rule for one in findings]

    return check


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "lint"), str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def function_of(lines: int) -> str:
    return "def f():\n" + "    pass\n" * (lines - 1)


@pytest.mark.parametrize(
    ("path", "text", "rules"),
    [
        ("domain/a.py", "x = 1\n" * 500, []),
        ("domain/a.py", "x = 1\n" * 501, ["module-size"]),
        ("domain/a.py", function_of(70), []),
        ("domain/a.py", function_of(71), ["function-size"]),
        ("domain/a.py", f"async {function_of(71)}", ["function-size"]),
        ("domain/utils.py", "", ["module-name"]),
        ("adapters/order_manager.py", "", ["module-name"]),
        ("application/helpers/orders.py", "", ["module-name"]),
        ("adapters/commons.py", "", []),
        ("application/pipeline.py", "await uow.commit()\n", []),
        ("application/pipeline.py", "await session.commit()\n", ["commit"]),
        ("adapters/postgres/uow.py", "await self._session.commit()\n", []),
        ("adapters/postgres/repositories/orders.py", "session.commit()\n", ["commit"]),
        ("adapters/postgres/repositories/orders.py", "uow.commit()\n", ["commit"]),
        ("domain/a.py", "float(order.price)\n", ["exact-money"]),
        ("kernel/a.py", "float(sum(fees))\n", ["exact-money"]),
        ("domain/a.py", "total = avg_price * 0.5\n", ["exact-money"]),
        ("domain/a.py", "x = 1.5 + book.cash_free\n", ["exact-money"]),
        ("domain/a.py", "nav *= 1.01\n", ["exact-money"]),
        ("domain/a.py", "class A:\n    price: float | None = None\n", ["exact-money"]),
        ("domain/a.py", "def f(amount: float): ...\n", ["exact-money"]),
        ("domain/a.py", "float(fee_rate) * symbol_nav_cap * 0.5\n", []),
        ("domain/a.py", "price = price * 2 // 3\nconfidence: float = 0.5\n", []),
        ("adapters/llm/a.py", "float(order.price)\n", []),
        ("domain/a.py", "price * 0.5  # lint-ok: exact-money - a feature, not money\n", []),
        ("domain/a.py", "price * 0.5  # lint-ok: exact-money -\n", ["exact-money"]),
    ],
)
def test_a_linter_finds_what_it_is_for(found, path, text, rules):
    if "await" in text:
        text = f"async def f():\n    {text}"
    assert found(path, text) == rules


def test_the_product_passes():
    done = lint(ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_prints_what_every_linter_finds(tmp_path):
    room = tmp_path / "src" / "caopan" / "domain"
    room.mkdir(parents=True)
    text = "session.commit()\nfloat(price)\n" + function_of(71) + "\n" * 500
    (room / "misc.py").write_text(text, encoding="utf-8")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert [line.split(": ")[:2] for line in done.stdout.splitlines()] == [
        ["src/caopan/domain/misc.py:1", "commit"],
        ["src/caopan/domain/misc.py:1", "module-name"],
        ["src/caopan/domain/misc.py:1", "module-size"],
        ["src/caopan/domain/misc.py:2", "exact-money"],
        ["src/caopan/domain/misc.py:3", "function-size"],
    ]


def test_an_empty_tree_is_no_success(tmp_path):
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "no module" in done.stderr
