"""The way to endpoints that speak HTTP: one attempt, bounded in time and size, told apart.

Owns HttpUpstream: its pools of connections, the clock of an attempt, and which failure is which.
Must never retry, follow a redirect, use a proxy or a cookie, skip the verification of a
certificate, or let a key into an exception; a key that a vendor repeats is struck out.
Tests: tests/unit/adapters/llm/test_upstream.py, tests/contract/gateway/test_upstream.py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver

from caopan import __version__
from caopan.adapters.llm.addresses import JudgedResolver, Lane, lane_of
from caopan.adapters.llm.endpoint_keys import EndpointKeys, KeyHeader
from caopan.application.ports.gateway import UpstreamFailed, UpstreamRequest
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.profile import Profile
from caopan.settings import Secret

_MOST_BODY: Final = 32 * 1024 * 1024
_MOST_ERROR: Final = 64 * 1024
"""Of the body of a refusal; the rest is cut off."""
_MOST_LINE: Final = 16 * 1024
_PER_HOST: Final = 1_024
_KEEP_ALIVE_S: Final = 25.0
_NAMES_KEPT_S: Final = 30
_MOST_PLACES: Final = 1_024
_REDIRECTS: Final = range(300, 400)
_FIRST_ERROR: Final = 400
_REFUSED_KEY: Final = 401
_STARS: Final = b"***"
_OURS: Final = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": f"caopan/{__version__}",
}
_RESERVED: Final = frozenset(
    name.lower()
    for name in (
        *_OURS,
        "Authorization",
        "Connection",
        "Content-Encoding",
        "Content-Length",
        "Cookie",
        "Expect",
        "Host",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    )
)
"""Headers a request may not bring along: they belong to this hop."""


class HttpUpstream:
    """Sends requests to endpoints of kind `openai`. Open it inside the event loop it serves."""

    def __init__(
        self,
        *,
        secret: Callable[[str], Secret],
        profiles: Mapping[str, Profile],
        tls: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        most_body: int = _MOST_BODY,
    ) -> None:
        """Nothing is opened yet.

        `secret` resolves a reference; `tls` is for authorities of the user's own and must verify;
        `resolver` answers names (by default the system's); `most_body` bounds an answer in bytes.
        """
        self._tls = tls if tls is not None else ssl.create_default_context()
        if self._tls.verify_mode is not ssl.CERT_REQUIRED or not self._tls.check_hostname:
            msg = "a TLS context that does not verify is not used"
            raise ValueError(msg)
        self._resolver = resolver
        self._most_body = most_body
        self._keys = EndpointKeys(secret, profiles)
        self._sessions: dict[Lane, aiohttp.ClientSession] = {}
        self._places: dict[tuple[str, str, bool], tuple[Lane, str]] = {}

    async def __aenter__(self) -> Self:
        """Return itself; connections are made when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self.close()

    async def close(self) -> None:
        """Close every connection; calls under way fail."""
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()

    def send(self, request: UpstreamRequest) -> HttpExchange:
        """Send one request; entering waits for the headers, leaving early cancels upstream.

        Raises UpstreamFailed; ConfigInvalid ENDPOINT_ADDRESS, SECRET_MISSING, SECRET_UNUSABLE
        before anything leaves.
        """
        return HttpExchange(self, request)

    async def dial(self, request: UpstreamRequest, key: KeyHeader) -> aiohttp.ClientResponse:
        """Return the response once its headers are here; raises as aiohttp does."""
        endpoint = request.endpoint
        place = endpoint.url, request.path, endpoint.private_address
        found = self._places.get(place)
        if found is None:
            lane = lane_of(endpoint.url, private_address=endpoint.private_address)
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            found = self._places[place] = lane, f"{endpoint.url.rstrip('/')}/{request.path}"
        lane, url = found
        session = self._sessions.get(lane)
        if session is None:
            session = self._sessions[lane] = self._session(lane)
        headers = {key.name: key.value} if key.name else {}
        if request.headers:
            headers.update(_passed_on(request.headers, key.name.lower()))
        return await session.post(
            url,
            data=request.body,
            headers=headers,
            allow_redirects=False,
            timeout=_connect_within(request.connect_ms),
        )

    @property
    def keys(self) -> EndpointKeys:
        """Return the keys it uses."""
        return self._keys

    @property
    def most_body(self) -> int:
        """Return the bound of an answer, in bytes."""
        return self._most_body

    def _session(self, lane: Lane) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=_PER_HOST,
            keepalive_timeout=_KEEP_ALIVE_S,
            ttl_dns_cache=_NAMES_KEPT_S,
            resolver=JudgedResolver(lane, self._resolver),
            ssl=self._tls,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_OURS,
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            auto_decompress=False,
            max_line_size=_MOST_LINE,
            max_field_size=_MOST_LINE,
        )


class HttpExchange:
    """One attempt: the context of `send` and, once entered, its answer."""

    __slots__ = ("_alarm", "_began", "_key", "_request", "_response", "_upstream")

    def __init__(self, upstream: HttpUpstream, request: UpstreamRequest) -> None:
        """Keep what is to be sent."""
        self._upstream = upstream
        self._request = request
        self._key: KeyHeader
        self._response: aiohttp.ClientResponse
        self._alarm: _Alarm
        self._began = 0.0

    async def __aenter__(self) -> Self:
        """Send, and return itself once the headers are here."""
        request = self._request
        loop = asyncio.get_running_loop()
        self._began = began = loop.time()
        self._key = key = await self._upstream.keys.header(request.endpoint)
        waits_ms = min(request.first_byte_ms, request.total_ms)
        try:
            async with asyncio.timeout_at(began + waits_ms / 1000):
                response = await self._upstream.dial(request, key)
                self._response = response
            failed = _unwelcome(response)
        except (aiohttp.ClientError, OSError) as error:
            failed = _failure(error, request, waits_ms)
        # Not inside the handler: aiohttp's errors hold the request's headers, and with them the
        # key, and whatever is raised there would carry them as its context.
        if failed is not None:
            raise failed
        self._alarm = _Alarm(loop, self._response)
        if self._response.status == _REFUSED_KEY:
            self._upstream.keys.forget(request.endpoint)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the connection back if the answer was read to its end, or else close it."""
        self._alarm.stop()
        # Where the end was reached the connection is back in its pool already.
        self._response.close()

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers by lower-case name."""
        key = self._key.key.decode()
        return {
            name.lower(): value.replace(key, "***") if key and key in value else value
            for name, value in self._response.headers.items()
        }

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises UpstreamFailed TIMEOUT or BROKEN."""
        return self._refusal() if self._response.status >= _FIRST_ERROR else self._body()

    async def _refusal(self) -> AsyncIterator[bytes]:
        """Yield the body of a refusal whole, so that a key cut in two is struck out too.

        One that breaks off is cut there: the status has said what matters.
        """
        found = bytearray()
        with suppress(UpstreamFailed):
            async for chunk in self._body():
                found += chunk
                if len(found) > _MOST_ERROR:
                    del found[_MOST_ERROR:]
                    break
        key = self._key.key
        yield bytes(found.replace(key, _STARS) if key else found)

    async def _body(self) -> AsyncIterator[bytes]:
        key = self._key.key
        left = self._upstream.most_body
        content = self._response.content
        alarm = self._alarm
        request = self._request
        ends = self._began + request.total_ms / 1000
        bound, what = self._began + request.first_byte_ms / 1000, "first_byte"
        idle_s = request.idle_ms / 1000
        now = asyncio.get_running_loop().time
        failed: UpstreamFailed | None = None
        while True:
            try:
                chunk = content.read_nowait()
                if not chunk:
                    if content.at_eof():
                        break
                    alarm.ring_at(min(bound, ends), what if bound < ends else "total")
                    chunk = await content.readany()
                    alarm.pause()
            except (aiohttp.ClientError, OSError) as error:
                failed = _failure(error, request, request.total_ms)
                break
            if not chunk:
                continue
            if now() > ends:
                alarm.rang = "total"
                break
            left -= len(chunk)
            if left < 0:
                most = self._upstream.most_body
                failed = UpstreamFailed(FailureClass.BROKEN, f"the answer exceeds {most} bytes")
                break
            yield chunk.replace(key, _STARS) if key and key in chunk else chunk
            bound, what = now() + idle_s, "idle"
        if alarm.rang:
            limit = {"first_byte": request.first_byte_ms, "idle": request.idle_ms}.get(
                alarm.rang, request.total_ms
            )
            raise UpstreamFailed(FailureClass.TIMEOUT, f"{_WAITED[alarm.rang]} within {limit} ms")
        if failed is not None:
            raise failed


class _Alarm:
    """Closes a response that keeps us waiting; re-armed per chunk without a new timer."""

    __slots__ = ("_at", "_handle", "_loop", "_response", "_what", "rang")

    def __init__(self, loop: asyncio.AbstractEventLoop, response: aiohttp.ClientResponse) -> None:
        self._loop = loop
        self._response = response
        self._at: float | None = None
        self._what = ""
        self._handle: asyncio.TimerHandle | None = None
        self.rang = ""

    def ring_at(self, at: float, what: str) -> None:
        self._at, self._what = at, what
        if self._handle is None:
            self._handle = self._loop.call_at(at, self._ring)
        elif at < self._handle.when():
            self._handle.cancel()
            self._handle = self._loop.call_at(at, self._ring)

    def pause(self) -> None:
        self._at = None

    def stop(self) -> None:
        self._at = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._handle = self._loop.call_at(self._at, self._ring)
            return
        self.rang = self._what
        self._response.close()


_WAITED: Final = {
    "first_byte": "no first byte",
    "idle": "nothing more",
    "total": "no end of the answer",
}


@lru_cache(maxsize=256)
def _connect_within(connect_ms: int) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect_ms / 1000, ceil_threshold=float("inf"))


def _passed_on(headers: Mapping[str, str], key_name: str) -> dict[str, str]:
    """Return what may travel: nothing of this hop, nothing that could break the line."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _RESERVED
        and name.lower() != key_name
        and value.isprintable()
        and value.isascii()
    }


def _unwelcome(response: aiohttp.ClientResponse) -> UpstreamFailed | None:
    """Return why an answer is not taken at all, having closed it; None if it is taken."""
    why = ""
    if response.status in _REDIRECTS:
        why = f"a redirect ({response.status}) is not followed"
    elif response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        why = "the body is compressed though that was not asked for"
    if not why:
        return None
    response.close()
    return UpstreamFailed(FailureClass.BROKEN, why)


def _failure(error: Exception, request: UpstreamRequest, waits_ms: int) -> UpstreamFailed:
    """Return what an exception of the client means, in words that are all our own."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            kind, why = FailureClass.CONNECT, f"no connection within {request.connect_ms} ms"
        case TimeoutError():
            kind, why = FailureClass.TIMEOUT, f"no answer within {waits_ms} ms"
        case aiohttp.ClientConnectorCertificateError():
            cause = error.certificate_error
            said = getattr(cause, "verify_message", "") or type(cause).__name__
            kind, why = FailureClass.TLS, f"the certificate is not valid: {said}"
        case aiohttp.ClientSSLError():
            said = getattr(error.os_error, "reason", None) or type(error.os_error).__name__
            kind, why = FailureClass.TLS, f"no TLS: {said}"
        case aiohttp.ClientConnectorDNSError():
            kind, why = FailureClass.CONNECT, "its name is not known"
        case aiohttp.ClientConnectorError():
            said = error.os_error.strerror or type(error.os_error).__name__
            kind, why = FailureClass.CONNECT, f"no connection: {said}"
        case _:
            kind, why = FailureClass.BROKEN, f"the exchange broke off: {type(error).__name__}"
    return UpstreamFailed(kind, why)
