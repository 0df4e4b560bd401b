"""The cheap question agrees with the migration library."""

from __future__ import annotations

import pytest

from caopan.adapters.postgres import schema
from caopan.adapters.postgres.revision import ensure_months, is_current, newest_revision
from caopan.kernel.errors import Unavailable


def test_the_newest_revision_is_the_librarys_head(clean_database):
    assert newest_revision() == schema.status(clean_database).head


def test_a_migrated_database_is_current_and_others_are_not(clean_database, empty_database):
    assert is_current(clean_database)
    assert not is_current(empty_database)
    schema.upgrade(empty_database, "0001")
    assert not is_current(empty_database)


def test_months_are_made_ahead_as_often_as_asked(clean_database):
    ensure_months(clean_database)
    ensure_months(clean_database)


def test_a_database_that_is_away_is_said_to_be():
    for ask in (is_current, ensure_months):
        with pytest.raises(Unavailable, match="DB_UNREACHABLE"):
            ask("postgresql://nobody@127.0.0.1:1/none")
