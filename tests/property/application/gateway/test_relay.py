"""However a stream is cut into chunks: whole events go on, in order, unchanged, and end once."""

from __future__ import annotations

import itertools

import orjson
from hypothesis import given
from hypothesis import strategies as st

from caopan.application.gateway.adapting import Adapted
from caopan.application.gateway.streaming import Relay, assembled
from caopan.testing.gateway_doubles import DONE, USAGE, event
from caopan.testing.gateway_rig import PROFILE

WORDS = st.text(st.sampled_from('ab 买\n"\\[]{}:,'), max_size=6)
TRAPS = st.sampled_from(
    ['"usage": {"prompt_tokens": 9}', "data: [DONE]", '"error":{}', "[]", "}\n\ndata: {"]
)
DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, st.one_of(WORDS, TRAPS)),
    st.builds(lambda text: {"reasoning_content": text}, WORDS),
    st.builds(lambda text: {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}, WORDS),
)


@st.composite
def streams(draw):
    deltas = draw(st.lists(DELTAS, min_size=1, max_size=8))
    pieces = [event({"role": "assistant", "content": ""}), event({"content": "go"})]
    for delta in deltas:
        pieces.append(event(delta))
        if draw(st.booleans()):
            pieces.append(b": keep-alive\n\n")
    pieces += [event({}, finish_reason="stop"), event(None, usage=USAGE)]
    return pieces


def cut(draw, stream: bytes) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *places, len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def relay(chunks: list[bytes], *, hides_usage: bool = False) -> tuple[Relay, list[bytes]]:
    made = Relay(PROFILE, Adapted(b"", (), streams=True, hides_usage=hides_usage))
    out = [made.feed(chunk) for chunk in chunks if not (made.failure or made.has_ended)]
    if not (made.failure or made.has_ended):
        out.append(made.close())
    return made, out


@given(streams(), st.booleans(), st.booleans(), st.data())
def test_whole_events_go_on_unchanged(pieces, crlf, hides_usage, data):
    sent = b"".join([*pieces, DONE, event({"content": "late"}), DONE])
    chunks = cut(data.draw, sent.replace(b"\n", b"\r\n") if crlf else sent)
    made, out = relay(chunks, hides_usage=hides_usage)
    expected = [one for one in pieces[:-1] if one[:1] != b":"]
    expected += [] if hides_usage else [pieces[-1]]
    passed = b"".join(out).split(b"\n\n")
    assert [one + b"\n\n" for one in passed if one and one[:1] != b":"] == expected
    assert all(one == b"" or one.endswith(b"\n\n") for one in out)
    assert made.has_ended
    assert made.failure is None
    reading = made.reading(wants_json=False)
    assert reading.usage_raw == USAGE
    assert reading.model_served == "model-served"


@given(streams(), st.data())
def test_a_stream_cut_anywhere_is_not_complete(pieces, data):
    whole = b"".join([*pieces, DONE])
    kept = b"".join(pieces[:-2])
    made, out = relay(cut(data.draw, whole[: data.draw(st.integers(0, len(kept)))]))
    assert made.failure is not None
    assert not made.has_ended
    passed = b"".join(out)
    assert kept.startswith(passed)
    assert passed == b"" or passed.endswith(b"\n\n")
    assert bool(passed) <= made.has_begun


@given(streams(), st.data())
def test_a_garbled_event_is_where_it_stops(pieces, data):
    place = data.draw(st.integers(0, len(pieces) - 1))
    bad = data.draw(
        st.sampled_from(
            [b"data: {oops\n\n", b"data: 3\n\n", b'data: {"error":{"message":"x"}}\n\n']
        )
    )
    chunks = cut(data.draw, b"".join([*pieces[:place], bad, *pieces[place:], DONE]))
    made, out = relay(chunks)
    assert made.failure is not None
    passed = b"".join(out)
    assert b"oops" not in passed
    assert (
        b"".join(pieces[:place])
        .replace(b": keep-alive\n\n", b"")
        .startswith(passed.replace(b": keep-alive\n\n", b""))
    )


@given(streams())
def test_putting_it_together_gives_what_was_said(pieces):
    found = assembled(b"".join([*pieces, DONE]), PROFILE)
    assert found.is_complete
    (choice,) = found.choices()
    deltas = [orjson.loads(one[6:]) for one in pieces if one[:1] != b":"]
    said = [choice["delta"] for one in deltas for choice in one["choices"]]
    assert choice["message"]["content"] == "".join(one.get("content") or "" for one in said)
