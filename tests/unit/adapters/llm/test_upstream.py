"""One attempt over HTTP: which failure is which, what is bounded, and that no key gets out."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from caopan.adapters.llm.upstream import HttpUpstream
from caopan.application.ports.gateway import Path, UpstreamFailed, UpstreamRequest
from caopan.domain.gateway.endpoint import AuthType, Endpoint
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import Secret
from caopan.testing.name_server import ScriptedNames
from caopan.testing.vendors.certificates import self_signed
from caopan.testing.vendors.misbehaving import Misbehaving, closed_port

KEY = "sk-canary-4f1c"
PROFILES = {"other": Profile("other", "", "", "", auth="api_key", auth_header="x-api-key")}


def endpoint(url: str, **more) -> Endpoint:
    base = Endpoint(
        "e",
        "vendor",
        "m",
        url=url,
        auth=AuthType.BEARER,
        secret_ref="env:CANARY",
        private_address=True,
    )
    return replace(base, **more)


def request(place: Endpoint | str, model: str = "ok", **more) -> UpstreamRequest:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    if more.pop("stream", False):
        body["stream"] = True
    base = UpstreamRequest(
        endpoint=endpoint(place) if isinstance(place, str) else place,
        path=Path.CHAT,
        body=json.dumps(body).encode(),
        headers={},
        connect_ms=2_000,
        first_byte_ms=5_000,
        idle_ms=5_000,
        total_ms=10_000,
    )
    return replace(base, **more)


async def whole(upstream: HttpUpstream, asked: UpstreamRequest) -> tuple[int, bytes]:
    async with upstream.send(asked) as answer:
        return answer.status, b"".join([chunk async for chunk in answer.chunks()])


@asynccontextmanager
async def serving(**more):
    vendor = Misbehaving()
    secret = more.pop("secret", lambda _reference: Secret(KEY))
    async with (
        vendor.open(tls=more.pop("server_tls", None)) as url,
        HttpUpstream(secret=secret, profiles=PROFILES, **more) as upstream,
    ):
        yield vendor, url, upstream


async def failure(upstream: HttpUpstream, asked: UpstreamRequest) -> UpstreamFailed:
    with pytest.raises(UpstreamFailed) as caught:
        await whole(upstream, asked)
    return caught.value


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the fake may serve in another loop
            await asyncio.sleep(0.01)


async def test_an_answer_comes_whole_and_its_connection_serves_the_next_call():
    async with serving() as (vendor, url, upstream):
        for _ in range(3):
            status, body = await whole(upstream, request(url))
            assert status == 200
            assert json.loads(body)["choices"][0]["message"]["content"] == vendor.text
        assert vendor.connections == 1


async def test_a_stream_comes_chunk_by_chunk_and_its_connection_serves_the_next_call():
    async with serving() as (vendor, url, upstream):
        async with upstream.send(request(url, "drip:1", stream=True)) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            chunks = [chunk async for chunk in answer.chunks()]
        assert len(chunks) > 10
        assert chunks[-1].endswith(b"data: [DONE]\n\n")
        await whole(upstream, request(url))
        assert vendor.connections == 1


async def test_what_is_sent_is_the_body_with_our_headers_and_the_trace():
    asked = {
        "traceparent": "00-1",
        "Authorization": "Bearer of-the-caller",
        "Host": "elsewhere",
        "Cookie": "a=b",
        "X-Bad": "a\r\nInjected: 1",
    }
    async with serving() as (vendor, url, upstream):
        await whole(upstream, request(url, headers=asked))
    sent = vendor.calls[0]
    assert json.loads(sent.body)["messages"] == [{"role": "user", "content": "hi"}]
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.headers["traceparent"] == "00-1"
    assert sent.headers["host"].startswith("127.0.0.1")
    assert not {"cookie", "x-bad", "injected"} & sent.headers.keys()


async def test_a_vendor_may_want_its_key_in_a_header_of_its_own_or_none():
    async with serving() as (vendor, url, upstream):
        own = endpoint(url, provider="other", auth=AuthType.API_KEY)
        await whole(upstream, request(own, headers={"X-Api-Key": "of-the-caller"}))
        await whole(upstream, request(endpoint(url, auth=AuthType.NONE, secret_ref=None)))
    assert vendor.calls[0].headers["x-api-key"] == KEY
    assert "authorization" not in vendor.calls[0].headers
    assert KEY not in str(vendor.calls[1].headers)


@pytest.mark.parametrize(
    ("model", "stream", "kind"),
    [
        ("cut:40", True, FailureClass.BROKEN),
        ("cut:0", False, FailureClass.BROKEN),
        ("close", False, FailureClass.BROKEN),
        ("no_http", False, FailureClass.BROKEN),
        ("redirect", False, FailureClass.BROKEN),
        ("redirect:http://169.254.169.254/", False, FailureClass.BROKEN),
        ("gzip", False, FailureClass.BROKEN),
        ("big:3000", False, FailureClass.BROKEN),
        ("big_headers:100000", False, FailureClass.BROKEN),
        ("hang", False, FailureClass.TIMEOUT),
        ("slow:2000", False, FailureClass.TIMEOUT),
        ("late_token:2000", True, FailureClass.TIMEOUT),
        ("stall:5", True, FailureClass.TIMEOUT),
    ],
)
async def test_a_failed_exchange_says_how_it_failed(model, stream, kind):
    async with serving(most_body=2_999) as (_, url, upstream):
        asked = request(url, model, stream=stream, first_byte_ms=150, idle_ms=100, total_ms=3_000)
        told = await failure(upstream, asked)
        assert told.failure is kind
        assert KEY not in told.detail
        status, _ = await whole(upstream, request(url))
        assert status == 200


async def test_an_endless_drip_ends_with_the_whole_time_allowed():
    async with serving() as (vendor, url, upstream):
        asked = request(url, "drip:20", stream=True, idle_ms=500, total_ms=200)
        told = await failure(upstream, asked)
    assert told.failure is FailureClass.TIMEOUT
    assert "200 ms" in told.detail
    assert vendor.gone == ["/v1/chat/completions"]


async def test_the_first_byte_may_take_longer_than_the_gaps_after_it():
    async with serving() as (_, url, upstream):
        asked = request(url, "late_token:120", stream=True, idle_ms=50, first_byte_ms=3_000)
        status, body = await whole(upstream, asked)
    assert status == 200
    assert body.endswith(b"[DONE]\n\n")


async def test_a_slow_reader_is_not_taken_for_a_silent_vendor():
    async with serving() as (_, url, upstream):
        asked = request(url, "ok", stream=True, idle_ms=30)
        async with upstream.send(asked) as answer:
            got = []
            async for chunk in answer.chunks():
                got.append(chunk)
                await asyncio.sleep(0.06)
    assert b"".join(got).endswith(b"[DONE]\n\n")


async def test_nobody_listens_and_no_such_name_are_connect():
    names = ScriptedNames({"models.example": [["127.0.0.1"]]})
    async with serving(resolver=names) as (_, _, upstream):
        told = await failure(upstream, request(f"http://127.0.0.1:{closed_port()}/v1"))
        assert told.failure is FailureClass.CONNECT
        told = await failure(upstream, request("http://unknown.example/v1"))
        assert told.failure is FailureClass.CONNECT


async def test_a_name_server_that_hangs_is_connect():
    class Silent(ScriptedNames):
        async def resolve(self, host, port=0, family=0):
            await asyncio.Event().wait()
            raise AssertionError

    async with serving(resolver=Silent({})) as (_, _, upstream):
        told = await failure(upstream, request("http://models.example/v1", connect_ms=80))
    assert told.failure is FailureClass.CONNECT
    assert "80 ms" in told.detail


async def test_tls_is_verified_against_the_authorities_of_the_machine(tmp_path):
    made = self_signed(tmp_path)
    async with serving(server_tls=made.server) as (vendor, url, upstream):
        told = await failure(upstream, request(url))
    assert told.failure is FailureClass.TLS
    assert "certificate" in told.detail
    assert vendor.calls == []


@pytest.mark.parametrize(("name", "expired"), [("other.example", False), ("localhost", True)])
async def test_a_certificate_of_another_or_an_expired_one_is_refused(tmp_path, name, expired):
    made = self_signed(tmp_path, name=name, expired=expired)
    async with serving(server_tls=made.server, tls=made.client) as (vendor, url, upstream):
        told = await failure(upstream, request(url))
    assert told.failure is FailureClass.TLS
    assert vendor.calls == []


async def test_an_authority_of_the_users_own_is_honoured(tmp_path):
    made = self_signed(tmp_path)
    async with serving(server_tls=made.server, tls=made.client) as (_, url, upstream):
        status, _ = await whole(upstream, request(url))
    assert status == 200


async def test_a_server_that_speaks_no_tls_is_tls():
    async def plain(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, HttpUpstream(secret=lambda _: Secret(KEY), profiles={}) as upstream:
        told = await failure(upstream, request(f"https://127.0.0.1:{port}/v1"))
    assert told.failure is FailureClass.TLS


def test_a_context_that_does_not_verify_is_not_taken():
    import ssl

    lax = ssl.create_default_context()
    lax.check_hostname = False
    with pytest.raises(ValueError, match="verify"):
        HttpUpstream(secret=Secret, profiles={}, tls=lax)


async def test_leaving_early_hangs_up_on_the_vendor():
    async with serving() as (vendor, url, upstream):
        async with upstream.send(request(url, "stall:3", stream=True)) as answer:
            async for _ in answer.chunks():
                break
        await until(lambda: vendor.gone)


async def test_cancelling_the_caller_hangs_up_on_the_vendor():
    async with serving() as (vendor, url, upstream):
        task = asyncio.create_task(whole(upstream, request(url, "hang")))
        await until(lambda: vendor.under_way)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: vendor.gone)


async def test_a_name_that_points_inside_is_refused_before_anything_leaves():
    names = ScriptedNames({"models.example": [["127.0.0.1"]]})
    async with serving(resolver=names) as (vendor, url, upstream):
        port = url.rsplit(":", 1)[1].split("/")[0]
        place = endpoint(f"https://models.example:{port}/v1", private_address=False)
        with pytest.raises(ConfigInvalid) as caught:
            await whole(upstream, request(place))
        assert caught.value.code == "ENDPOINT_ADDRESS"
    assert names.asked == ["models.example"]
    assert vendor.connections == 0


async def test_a_name_that_changes_its_mind_is_dialled_where_it_was_judged():
    """What was judged is kept for a while; what it says later is judged anew, or never asked."""
    names = ScriptedNames({"models.example": [["127.0.0.1"], ["169.254.169.254"]]})
    async with serving(resolver=names) as (vendor, url, upstream):
        place = url.replace("127.0.0.1", "models.example")
        for _ in range(3):
            await whole(upstream, request(place, "ok"))
            await failure(upstream, request(place, "close"))
    assert names.asked == ["models.example"]
    assert len(vendor.calls) == 6


async def test_one_endpoints_word_is_not_lent_to_another():
    """Two endpoints at one host: the pool of the one allowed inside is not the other's."""
    names = ScriptedNames({"models.example": [["127.0.0.1"]]})
    async with serving(resolver=names) as (vendor, url, upstream):
        place = url.replace("127.0.0.1", "models.example").replace("http:", "https:")
        await failure(upstream, request(endpoint(place), connect_ms=150))
        seen = vendor.connections
        with pytest.raises(ConfigInvalid):
            await whole(upstream, request(endpoint(place, private_address=False)))
        assert vendor.connections == seen


async def test_the_key_is_read_again_once_the_vendor_refuses_it():
    keys = [Secret("old"), Secret("new")]
    async with serving(secret=lambda _: keys.pop(0)) as (vendor, url, upstream):
        await whole(upstream, request(url))
        await whole(upstream, request(url, "401"))
        await whole(upstream, request(url))
    given = [call.headers["authorization"] for call in vendor.calls]
    assert given == ["Bearer old", "Bearer old", "Bearer new"]


async def test_a_key_that_a_vendor_repeats_is_struck_out():
    async with serving() as (_, url, upstream), upstream.send(request(url, "echo")) as answer:
        told = dict(answer.headers)
        body = b"".join([chunk async for chunk in answer.chunks()])
    assert KEY not in str(told)
    assert KEY.encode() not in body
    assert b"***" in body


async def test_a_key_that_comes_in_two_pieces_is_struck_out():
    async with (
        serving() as (_, url, upstream),
        upstream.send(request(url, "echo_in_two")) as answer,
    ):
        body = b"".join([chunk async for chunk in answer.chunks()])
    assert KEY.encode() not in body
    assert b"***" in body


@pytest.mark.parametrize(
    "model", ["cut:2", "cut:0", "close", "no_http", "gzip", "redirect", "hang", "big_headers:99999"]
)
async def test_no_exception_shows_the_key_not_even_in_its_chain(model, caplog):
    caplog.set_level(logging.DEBUG)
    async with serving() as (_, url, upstream):
        upstream_repr = repr(upstream)
        told = await failure(upstream, request(url, model, first_byte_ms=100))
    shown = [repr(told), str(told), "".join(traceback.format_exception(told)), caplog.text]
    cause: BaseException | None = told
    while cause is not None:
        shown.append(repr(cause) + repr(vars(cause)))
        cause = cause.__cause__ or cause.__context__
    assert KEY not in "".join(shown) + upstream_repr


async def test_many_at_once_on_connections_that_are_kept():
    async with serving() as (vendor, url, upstream):
        for _ in range(4):
            got = await asyncio.gather(*(whole(upstream, request(url)) for _ in range(16)))
            assert {status for status, _ in got} == {200}
        assert vendor.connections <= 16


async def test_a_callers_own_bound_is_not_taken_for_ours():
    """Both run out at once, again and again: the caller's wish to end always shows."""
    async with serving() as (_, url, upstream):
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await whole(upstream, request(url, "hang", first_byte_ms=5_000))
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
        for wait_ms in range(10, 60, 5):
            ours = asyncio.create_task(
                failure(upstream, request(url, "hang", first_byte_ms=wait_ms))
            )
            assert (await ours).failure is FailureClass.TIMEOUT
            assert ours.cancelling() == 0


async def test_cancelled_in_the_very_tick_in_which_patience_ends():
    async with serving() as (_, url, upstream):
        async with asyncio.TaskGroup() as group:
            exchange = upstream.send(request(url, "hang"))

            async def enter() -> str:
                try:
                    await exchange.__aenter__()
                except asyncio.CancelledError:
                    return "cancelled"
                return "entered"

            task = group.create_task(enter())
            await until(lambda: upstream.patience._waiting)
            await asyncio.sleep(0.02)
            exchange.due = 0.0
            upstream.patience._tick()
            task.cancel()
        assert task.result() == "cancelled"
        assert task.cancelling() == 1
        assert not upstream.patience._waiting
