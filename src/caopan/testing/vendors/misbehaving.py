"""A vendor that does one thing wrong, chosen by the model's name: `cut:40`, `stall:3`, `429:2`.

Owns the faults of the gateway's suite and how each looks on the wire. Any other name is answered
well, so that recovery can be seen. What needs no server is here too: a port where nobody listens.
Must never fail by chance: the same requests in the same order meet the same faults. Never used by
production code.
"""

from __future__ import annotations

import gzip
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from caopan.testing.vendors import completions
from caopan.testing.vendors.completions import Body, error
from caopan.testing.vendors.wire import Call, Vendor, Wire

TEXT = " ".join(f"word{number}" for number in range(60))
"""What it says when it is well: 60 tokens."""
FOR_EVER_S = 3_600.0


def closed_port() -> int:
    """Return a port of loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Misbehaving(Vendor):
    """One fault per model name; `fault:argument`."""

    text: str = TEXT
    seen: Counter[str] = field(default_factory=Counter[str])
    """Requests by model."""
    instead: str = ""
    """A fault for every request, whatever its model: an endpoint falls ill and recovers."""

    async def answer(self, call: Call, wire: Wire) -> None:
        """Do what the model's name says."""
        body = call.json
        model = str(body.get("model", "ok"))
        self.seen[model] += 1
        fault, _, argument = (self.instead or model).partition(":")
        await _FAULTS.get(fault, _ok)(self, call, wire, argument)

    async def well(self, call: Call, wire: Wire) -> None:
        """Answer as one would wish."""
        body = call.json
        if call.path.endswith("/embeddings"):
            await wire.whole(200, completions.embeddings(body))
        elif not body.get("stream"):
            await wire.whole(200, self.whole(body))
        else:
            await self.begin(body, wire, None)
            await self.finish(body, wire)

    def whole(self, body: Body, finish: str = "stop") -> Body:
        """Return a whole answer."""
        return completions.whole(body, {"content": self.text}, self.usage(body), finish=finish)

    def usage(self, body: Body) -> Body:
        """Return what the whole text costs."""
        prompt = completions.count(completions.prompt_of(body))
        told = completions.count(self.text)
        return {"prompt_tokens": prompt, "completion_tokens": told, "total_tokens": prompt + told}

    async def begin(self, body: Body, wire: Wire, most: int | None) -> None:
        """Stream the first `most` tokens, all without one."""
        await wire.stream()
        await wire.event(completions.delta(body, {"role": "assistant", "content": ""}))
        for number, event in enumerate(completions.deltas(body, self.text)):
            if number == most:
                return
            await wire.event(event)

    async def finish(self, body: Body, wire: Wire, usages: int = 1) -> None:
        """Stream the end."""
        await wire.event(completions.delta(body, {}, "stop"))
        if completions.wants_usage(body):
            for _ in range(usages):
                await wire.event(completions.usage_event(body, self.usage(body)))
        await wire.event("[DONE]")
        await wire.end()


_Fault = Callable[[Misbehaving, Call, Wire, str], Awaitable[None]]


async def _ok(vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    await vendor.well(call, wire)


async def _hang(_vendor: Misbehaving, _call: Call, wire: Wire, _: str) -> None:
    """Accept and say nothing."""
    await wire.wait(FOR_EVER_S)


async def _slow(vendor: Misbehaving, call: Call, wire: Wire, milliseconds: str) -> None:
    """Answer well, late."""
    await wire.wait(int(milliseconds) / 1000)
    await vendor.well(call, wire)


async def _late_token(vendor: Misbehaving, call: Call, wire: Wire, milliseconds: str) -> None:
    """Send the headers at once and the first token late."""
    body = call.json
    await wire.stream()
    await wire.wait(int(milliseconds) / 1000)
    for event in completions.deltas(body, vendor.text):
        await wire.event(event)
    await vendor.finish(body, wire)


async def _cut(vendor: Misbehaving, call: Call, wire: Wire, tokens: str) -> None:
    """Break the connection after so many tokens, or in the middle of a whole answer."""
    body = call.json
    if body.get("stream"):
        await vendor.begin(body, wire, int(tokens))
    else:
        data = completions.encoded(vendor.whole(body))
        head = {"content-type": "application/json", "content-length": str(len(data))}
        await wire.head(200, head)
        await wire.write(data[: len(data) // 2])
    # Give what was sent the time to arrive: an abort may overtake it.
    await wire.wait(0.02)
    wire.abort()


async def _stall(vendor: Misbehaving, call: Call, wire: Wire, tokens: str) -> None:
    """Say nothing more after so many tokens."""
    await vendor.begin(call.json, wire, int(tokens))
    await wire.wait(FOR_EVER_S)


async def _drip(vendor: Misbehaving, call: Call, wire: Wire, milliseconds: str) -> None:
    """Stream well, with a rest before every token."""
    body = call.json
    await wire.stream()
    for event in completions.deltas(body, vendor.text):
        await wire.wait(int(milliseconds) / 1000)
        await wire.event(event)
    await vendor.finish(body, wire)


async def _malformed(vendor: Misbehaving, call: Call, wire: Wire, tokens: str) -> None:
    """Send an event that is no JSON after so many tokens, then go on."""
    body = call.json
    await vendor.begin(body, wire, int(tokens))
    await wire.event('{"choices": [{"delta": {"conte')
    await vendor.finish(body, wire)


async def _error_event(vendor: Misbehaving, call: Call, wire: Wire, tokens: str) -> None:
    """Send an error as an event after so many tokens, and end."""
    await vendor.begin(call.json, wire, int(tokens))
    await wire.event(error("The server had an error", "server_error", "internal"))
    await wire.end()


async def _ok_error(_vendor: Misbehaving, _call: Call, wire: Wire, _: str) -> None:
    """Say 200 and mean an error."""
    await wire.whole(200, error("upstream overloaded", "server_error", "overloaded"))


async def _wrong_type(_vendor: Misbehaving, _call: Call, wire: Wire, _: str) -> None:
    """Answer with a web page."""
    page = b"<!doctype html><title>Welcome</title>"
    await wire.raw(200, page, {"content-type": "text/html"})


async def _nothing(_vendor: Misbehaving, _call: Call, wire: Wire, _: str) -> None:
    """Answer with no body at all."""
    await wire.raw(200, b"", {"content-type": "application/json"})


async def _blank(_vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """Answer in due form with nothing but blanks."""
    await Misbehaving(text="   \n \n ").well(call, wire)


async def _truncated(vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """End half-way through the JSON, as if that were all."""
    data = completions.encoded(vendor.whole(call.json))
    await wire.raw(200, data[: len(data) // 2], {"content-type": "application/json"})


async def _length(vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """Stop for want of tokens."""
    body = call.json
    if not body.get("stream"):
        await wire.whole(200, vendor.whole(body, finish="length"))
        return
    await vendor.begin(body, wire, 5)
    await wire.event(completions.delta(body, {}, "length"))
    await wire.event("[DONE]")
    await wire.end()


async def _no_done(vendor: Misbehaving, call: Call, wire: Wire, tokens: str) -> None:
    """End a stream cleanly, without finish_reason and [DONE]."""
    await vendor.begin(call.json, wire, int(tokens))
    await wire.end()


async def _done_twice(vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """Say [DONE] twice."""
    body = call.json
    await vendor.begin(body, wire, None)
    await wire.event(completions.delta(body, {}, "stop"))
    await wire.event("[DONE]")
    await wire.event("[DONE]")
    await wire.end()


async def _usage_early(vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """Tell a usage of one token first and the right one last."""
    body = call.json
    await vendor.begin(body, wire, 1)
    early = {**vendor.usage(body), "completion_tokens": 1}
    await wire.event(completions.usage_event(body, early))
    for event in list(completions.deltas(body, vendor.text))[1:]:
        await wire.event(event)
    await vendor.finish(body, wire)


async def _usage_twice(vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """Tell the usage twice."""
    body = call.json
    await vendor.begin(body, wire, None)
    await vendor.finish(body, wire, usages=2)


async def _usage_null(vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """Tell a usage of null."""
    body = call.json
    if not body.get("stream"):
        await wire.whole(200, {**vendor.whole(body), "usage": None})
        return
    await vendor.begin(body, wire, None)
    await wire.event(completions.usage_event(body, None))
    await vendor.finish(body, wire, usages=0)


async def _rate(_vendor: Misbehaving, _call: Call, wire: Wire, seconds: str) -> None:
    """Refuse with 429; Retry-After if an argument says so."""
    headers = {"retry-after": seconds} if seconds else {}
    refusal = error("Too many requests", "rate_limit_error", "rate_limit_exceeded")
    await wire.whole(429, refusal, headers)


def _status(status: int, said: str, kind: str) -> _Fault:
    async def refuse(_vendor: Misbehaving, _call: Call, wire: Wire, _: str) -> None:
        await wire.whole(status, error(said, kind, None))

    return refuse


async def _echo(_vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """Refuse, and repeat the key in body and headers."""
    given = call.headers.get("authorization", "")
    refusal = error(f"Incorrect API key provided: {given}", "invalid_request_error", "bad_key")
    await wire.whole(401, refusal, {"x-given": given})


async def _echo_in_two(_vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """Answer well, and repeat the key in the middle of it, in two chunks."""
    given = call.headers.get("authorization", "").encode()
    await wire.stream({"content-type": "application/json"})
    await wire.chunk(b'{"id":"' + given[:12])
    await wire.wait(0.05)
    await wire.chunk(given[12:] + b'"}')
    await wire.end()


async def _recover(vendor: Misbehaving, call: Call, wire: Wire, times: str) -> None:
    """Fail so many times, then be well."""
    model = str(call.json.get("model"))
    if vendor.seen[model] <= int(times):
        await _status(500, "Not yet", "server_error")(vendor, call, wire, "")
    else:
        await vendor.well(call, wire)


async def _flap(vendor: Misbehaving, call: Call, wire: Wire, times: str) -> None:
    """Be well so many times, fail as many, and so on."""
    model = str(call.json.get("model"))
    if (vendor.seen[model] - 1) // int(times) % 2:
        await _status(503, "Overloaded", "server_error")(vendor, call, wire, "")
    else:
        await vendor.well(call, wire)


async def _redirect(_vendor: Misbehaving, call: Call, wire: Wire, where: str) -> None:
    """Point elsewhere."""
    await wire.raw(302, b"", {"location": where or f"http://127.0.0.1:1{call.path}"})


async def _gzip(vendor: Misbehaving, call: Call, wire: Wire, _: str) -> None:
    """Compress though nobody asked."""
    data = gzip.compress(completions.encoded(vendor.whole(call.json)))
    told = {"content-type": "application/json", "content-encoding": "gzip"}
    await wire.raw(200, data, told)


async def _big(_vendor: Misbehaving, _call: Call, wire: Wire, size: str) -> None:
    """Answer with so many bytes."""
    await wire.raw(200, b" " * int(size), {"content-type": "application/json"})


async def _big_headers(_vendor: Misbehaving, _call: Call, wire: Wire, size: str) -> None:
    """Answer with a header of so many bytes."""
    await wire.raw(200, b"{}", {"content-type": "application/json", "x-big": "x" * int(size)})


async def _no_http(_vendor: Misbehaving, _call: Call, wire: Wire, _: str) -> None:
    """Answer in another protocol."""
    await wire.write(b"+PONG\r\n-ERR unknown command\r\n\r\n")
    wire.abort()


async def _close(_vendor: Misbehaving, _call: Call, wire: Wire, _: str) -> None:
    """Close without a word."""
    wire.abort()


_FAULTS: Mapping[str, _Fault] = {
    "ok": _ok,
    "hang": _hang,
    "slow": _slow,
    "late_token": _late_token,
    "cut": _cut,
    "stall": _stall,
    "drip": _drip,
    "malformed": _malformed,
    "error_event": _error_event,
    "ok_error": _ok_error,
    "wrong_type": _wrong_type,
    "nothing": _nothing,
    "blank": _blank,
    "truncated": _truncated,
    "length": _length,
    "no_done": _no_done,
    "done_twice": _done_twice,
    "usage_early": _usage_early,
    "usage_twice": _usage_twice,
    "usage_null": _usage_null,
    "429": _rate,
    "400": _status(400, "Bad request", "invalid_request_error"),
    "401": _status(401, "Invalid key", "authentication_error"),
    "402": _status(402, "Insufficient balance", "billing_error"),
    "403": _status(403, "Not permitted", "permission_error"),
    "404": _status(404, "No such model", "not_found_error"),
    "500": _status(500, "Internal error", "server_error"),
    "503": _status(503, "Overloaded", "server_error"),
    "echo": _echo,
    "echo_in_two": _echo_in_two,
    "recover": _recover,
    "flap": _flap,
    "redirect": _redirect,
    "gzip": _gzip,
    "big": _big,
    "big_headers": _big_headers,
    "no_http": _no_http,
    "close": _close,
}
FAULTS = frozenset(_FAULTS)
"""Names of all faults."""
