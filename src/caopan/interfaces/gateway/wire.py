"""Requests and answers on the wire: what is read of a request, and how far.

Owns the bounds of a request (its host, its length, the depth of its JSON), the headers by name and
the sending of a whole answer. Must never read more of a body than the bound allows, nor know what a
request is for. Tests: tests/unit/interfaces/gateway/test_wire.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, cast

import orjson

from caopan.application.gateway.calls import Answered, CallRefused
from caopan.application.gateway.nesting import MOST_DEPTH, nests_deeper
from caopan.kernel.errors import ConfigInvalid

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MOST_BODY: Final = 8 * 1024 * 1024
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class ClientGone(Exception):
    """The caller closed the connection before it had its answer."""


class Hosts:
    """Names this gateway answers to.

    A page in a browser can be made to send requests to any address, but not to lie about the name
    it looked up: a request for another name is not for us.
    """

    def __init__(self, bound: str, more: Iterable[str] = ()) -> None:
        """Answer to loopback's names, the address bound to, and `more`."""
        self._names = frozenset({*_LOOPBACK, bound.lower(), *(name.lower() for name in more)})
        self._known: set[bytes] = set()

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise CallRefused (421) unless exactly one Host names us."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) == 1:
            if hosts[0] in self._known:
                return
            if _name_of(hosts[0]) in self._names:
                if len(self._known) < len(self._names) * 4:
                    self._known.add(hosts[0])
                return
        raise CallRefused(
            421, "host_not_allowed", "This gateway does not answer to the Host of the request."
        )


def _name_of(host: bytes) -> str:
    """Return the name in a Host header, without its port; "" where it has no such form."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        name, closed, port = text[1:].partition("]")
        port = port.removeprefix(":") if closed and (not port or port[0] == ":") else "?"
    else:
        name, _, port = text.partition(":")
    return name if not port or (port.isascii() and port.isdigit()) else ""


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_address(host: str, *, public: bool) -> None:
    """Raise ConfigInvalid GATEWAY_ADDRESS where others could reach it and nobody said so."""
    if not public and not is_loopback(host):
        raise ConfigInvalid(
            "GATEWAY_ADDRESS",
            f"--host {host}: other machines could reach the gateway, and keys would travel in "
            "the clear",
            remedy="listen on 127.0.0.1, or say --allow-remote (and put TLS in front of it)",
        )


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers by lower-case name; of several with one name the last."""
    found = cast("Iterable[tuple[bytes, bytes]]", scope["headers"])
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in found}


async def read_body(receive: Receive, headers: Mapping[str, str], most: int) -> bytes:
    """Return the whole body. Raises CallRefused (413) before more than `most` is kept; ClientGone.

    A length that is announced and too long is refused before anything is read.
    """
    announced = headers.get("content-length")
    if announced is not None and announced.isdigit() and int(announced) > most:
        raise _too_long(most)
    message = await receive()
    body = _part(message)
    if not message.get("more_body", False):
        if len(body) > most:
            raise _too_long(most)
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        if size > most:
            raise _too_long(most)
        message = await receive()
        parts.append(_part(message))
        size += len(parts[-1])
    if size > most:
        raise _too_long(most)
    return b"".join(parts)


def check_depth(raw: bytes, most: int = MOST_DEPTH) -> None:
    """Raise CallRefused (400) where JSON nests deeper than `most`.

    What does not even open that many brackets cannot nest so deep; only the rest is parsed for it.
    Text that is no JSON passes: who parses it says so.
    """
    if raw.count(b"[") + raw.count(b"{") <= most:
        return
    try:
        parsed: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return
    if nests_deeper(raw, parsed, most):
        raise CallRefused(400, "json_too_deep", f"The body nests deeper than {most} levels.")


async def send_answer(send: Send, answer: Answered, *, head_only: bool = False) -> None:
    """Send a whole answer."""
    headers = [*encoded(answer.headers), (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if head_only else answer.body
    await send({"type": "http.response.body", "body": body})


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as the server sends them."""
    return [
        (name.encode("latin-1"), value.encode("latin-1", errors="replace"))
        for name, value in headers.items()
    ]


def _part(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientGone
    return cast("bytes", message.get("body", b""))


def _too_long(most: int) -> CallRefused:
    return CallRefused(413, "request_too_large", f"The body is longer than {most} bytes.")
