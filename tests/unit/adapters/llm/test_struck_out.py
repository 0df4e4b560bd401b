"""A key never gets through, however it is cut; everything else does, in order."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from caopan.adapters.llm.struck_out import STARS, StruckOut

KEY = b"aabaac"
PIECES = st.lists(st.text("abc{", max_size=8).map(str.encode), max_size=8)


@given(PIECES)
@example([b"x aab", b"aac y"])
@example([b"a", b"a", b"b", b"a", b"a", b"c"])
@example([b"aabaabaac"])
def test_pieces_give_what_the_whole_gives(pieces):
    struck = StruckOut(KEY)
    found = b"".join([*(struck.feed(piece) for piece in pieces), struck.rest()])
    assert found == b"".join(pieces).replace(KEY, STARS)


def test_nothing_is_held_back_that_cannot_be_the_key():
    struck = StruckOut(KEY)
    assert struck.feed(b'data: {"a"}\n\n') == b'data: {"a"}\n\n'
    assert struck.feed(b"aabx") == b"aabx"
    assert StruckOut(b"").feed(b"aab") == b"aab"
