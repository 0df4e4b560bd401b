"""The name of a desk, which is also the name of a file on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from caopan.bootstrap.desks import DeskChoice

_MOST_BYTES = 255


@pytest.mark.parametrize("letter", ["a", "盘"])
def test_a_data_folder_with_the_longest_name_makes_a_note_that_can_be_written(
    tmp_path: Path, letter: str
):
    name = letter * (_MOST_BYTES // len(letter.encode()))
    first, second = (DeskChoice(data=tmp_path / place / name) for place in ("a", "b"))
    note = tmp_path / f"{first.account_id}.json"
    note.write_text("{}")
    assert note.exists()
    assert first.account_id != second.account_id
