"""Every import contract bites: a violation planted in a copy of the sources is reported.

The copies are linted by the very configuration of the repository.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

# Contract -> lines to append, by file below src/caopan.
PLANTS = {
    "layers": {"domain/orders/order.py": "import caopan.application.desk"},
    "pure-core": {"domain/accounting/fees.py": "import time"},
    "application-is-framework-free": {"application/pipeline.py": "import sqlalchemy"},
    "adapters-apart": {"adapters/llm/openai_compatible.py": "import caopan.adapters.postgres.uow"},
    "interfaces-apart": {"interfaces/worker.py": "import caopan.interfaces.cli.app"},
    "brokers-behind-one-door": {
        "interfaces/cli/demo.py": "import caopan.adapters.brokers.sandbox.venue"
    },
    "llm-has-no-hands": {
        "application/decision_cycle/actor.py": "import caopan.application.execution.hand"
    },
    "rooms-acyclic": {
        "domain/market/symbols.py": "import caopan.domain.orders.order",
        "domain/orders/order.py": "import caopan.domain.market.symbols",
    },
    "settings-know-only-the-kernel": {"settings.py": "import caopan.domain.market.symbols"},
    "nobody-imports-testing": {"bootstrap/models.py": "import caopan.testing.models"},
}


def contracts() -> dict[str, str]:
    """Return the name of each contract by its id, as the repository configures them."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter", encoding="utf-8")
    prefix = "importlinter:contract:"
    return {
        section.removeprefix(prefix): config[section]["name"]
        for section in config.sections()
        if section.startswith(prefix)
    }


@pytest.fixture
def copy(tmp_path):
    """Return a repository with nothing but the sources and the contracts."""
    skip = shutil.ignore_patterns("__pycache__", "*.json", "*.sql")
    shutil.copytree(ROOT / "src" / "caopan", tmp_path / "src" / "caopan", ignore=skip)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    # The copy must come before the installed package on the path.
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "200"}
    command = [sys.executable, "-c", LINT, "--no-cache"]
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def verdicts(root: Path) -> tuple[int, dict[str, str]]:
    """Lint the copy in `root`; return the exit code and KEPT or BROKEN by contract name."""
    done = lint(root)
    found = re.findall(r"^(.+?) (KEPT|BROKEN)$", done.stdout, re.MULTILINE)
    assert {name for name, _ in found} == set(contracts().values()), done.stdout + done.stderr
    return done.returncode, dict(found)


def test_every_contract_has_a_plant():
    assert set(PLANTS) == set(contracts())


def test_the_sources_keep_every_contract(copy):
    code, found = verdicts(copy)
    assert (code, set(found.values())) == (0, {"KEPT"})


@pytest.mark.parametrize("contract", PLANTS)
def test_a_planted_violation_is_reported(copy, contract):
    for path, line in PLANTS[contract].items():
        with (copy / "src" / "caopan" / path).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    code, found = verdicts(copy)
    assert (code, found[contracts()[contract]]) == (1, "BROKEN")


def test_a_new_top_level_package_must_take_its_place(copy):
    package = copy / "src" / "caopan" / "services"
    package.mkdir()
    (package / "__init__.py").touch()
    done = lint(copy)
    assert done.returncode == 1
    assert "caopan.services" in done.stdout + done.stderr
