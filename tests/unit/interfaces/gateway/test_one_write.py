"""What one step writes leaves in one go, whole and in order, and before the line is closed."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from caopan.interfaces.gateway.one_write import OneWrite


class Line:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed_after: int | None = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed_after is not None

    def close(self) -> None:
        self.closed_after = len(self.written)

    def get_extra_info(self, name: str) -> str:
        return f"the line's {name}"


def laid() -> tuple[Line, OneWrite]:
    line = Line()
    return line, OneWrite(cast("Any", line), asyncio.get_running_loop())


@given(st.lists(st.lists(st.binary(min_size=1, max_size=9), max_size=4), max_size=6))
async def test_each_step_is_one_write_with_all_of_it(steps):
    line, one = laid()
    for step in steps:
        for part in step:
            one.write(part)
        await asyncio.sleep(0)
    assert line.written == [b"".join(step) for step in steps if step]


async def test_nothing_is_left_behind_when_it_is_closed():
    line, one = laid()
    one.write(b"last ")
    one.write(b"words")
    one.close()
    assert line.written == [b"last words"]
    assert line.closed_after == 1
    assert one.is_closing()
    await asyncio.sleep(0)
    assert line.written == [b"last words"]


async def test_all_else_is_the_lines_own():
    _, one = laid()
    assert one.get_extra_info("peername") == "the line's peername"
