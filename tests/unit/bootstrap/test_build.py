"""Which build runs: any byte of the package, and the schema, make another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import caopan
from caopan.adapters.postgres import schema
from caopan.bootstrap import build
from caopan.bootstrap.build import code_hash, software_version, stamp
from caopan.kernel.errors import ConfigInvalid


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "room").mkdir(parents=True)
    (source / "a.py").write_text("one\n")
    (source / "room" / "b.json").write_text("{}")
    return source


def hashed(folder: Path) -> str:
    return code_hash.__wrapped__(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.py").write_text("one \n"),
        lambda folder: (folder / "room" / "b.json").write_text("[]"),
        lambda folder: (folder / "new.py").write_text(""),
        lambda folder: (folder / "a.py").rename(folder / "c.py"),
        lambda folder: (folder / "room" / "b.json").unlink(),
    ],
)
def test_whatever_changes_in_the_package_is_another_build(copy, change):
    before = hashed(copy)
    assert hashed(copy) == before
    change(copy)
    assert hashed(copy) != before


def test_what_is_compiled_from_it_is_not(copy):
    before = hashed(copy)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "a.pyc").write_text("x")
    assert hashed(copy) == before


def test_the_end_of_a_file_is_not_the_name_of_the_next(tmp_path):
    for name, files in {"one": {"a": "b"}, "other": {"ab": ""}}.items():
        (tmp_path / name).mkdir()
        for file, body in files.items():
            (tmp_path / name / file).write_text(body)
    assert hashed(tmp_path / "one") != hashed(tmp_path / "other")


def test_the_software_version_names_release_and_code(tmp_path):
    release, _, digits = software_version().partition("+")
    assert release == caopan.__version__
    assert code_hash().startswith(digits)
    assert len(digits) == 16
    package = Path(caopan.__file__).parent
    copied = shutil.copytree(package, tmp_path / "copy", ignore=shutil.ignore_patterns("*.pyc"))
    assert hashed(copied)[:16] == hashed(package)[:16]


def test_a_database_that_is_not_at_this_builds_schema_is_told(monkeypatch):
    def at(current: str, *pending: str) -> None:
        status = schema.SchemaStatus(current, "0009", pending)
        monkeypatch.setattr(build.schema, "status", lambda _: status)

    at("0009")
    told = stamp("url")
    assert told == f"{software_version()}, schema 0009"
    at("0008", "0009")
    with pytest.raises(ConfigInvalid, match="DB_NOT_MIGRATED"):
        stamp("url")
