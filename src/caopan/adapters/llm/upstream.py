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
from caopan.adapters.llm.endpoint_keys import NO_KEY, EndpointKeys, KeyHeader
from caopan.adapters.llm.patience import NEVER, Patience
from caopan.adapters.llm.struck_out import StruckOut
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
        self._patience = Patience()
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
    def patience(self) -> Patience:
        """Return who ends what takes too long."""
        return self._patience

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

    __slots__ = (
        "_began",
        "_key",
        "_ran_out",
        "_request",
        "_response",
        "_task",
        "_upstream",
        "_waits_for",
        "due",
    )

    def __init__(self, upstream: HttpUpstream, request: UpstreamRequest) -> None:
        """Keep what is to be sent."""
        self._upstream = upstream
        self._request = request
        self._key: KeyHeader = NO_KEY
        self._response: aiohttp.ClientResponse | None = None
        self._task: asyncio.Task[object] | None = None
        self._began = 0.0
        self._waits_for = ""
        self._ran_out = ""
        """Which bound ended the exchange; empty while none has."""
        self.due = NEVER

    async def __aenter__(self) -> Self:
        """Send, and return itself once the headers are here."""
        upstream, request = self._upstream, self._request
        self._key = await upstream.keys.header(request.endpoint)
        self._began = asyncio.get_running_loop().time()
        waits_ms = min(request.first_byte_ms, request.total_ms)
        self._task = task = asyncio.current_task()
        assert task is not None, "an exchange belongs to a task"
        cancelled = task.cancelling()
        self.due, self._waits_for = self._began + waits_ms / 1000, "headers"
        upstream.patience.watch(self)
        try:
            try:
                self._response = await upstream.dial(request, self._key)
                failed = _unwelcome(self._response)
            except (aiohttp.ClientError, OSError) as error:
                failed = _failure(error, request)
            except asyncio.CancelledError:
                # Ours if patience ran out, unless somebody else wants the task to end, too.
                if not self._ran_out or task.uncancel() > cancelled:
                    raise
                why = f"no answer within {waits_ms} ms"
                failed = UpstreamFailed(FailureClass.TIMEOUT, why)
            self.due = NEVER
        except BaseException:
            upstream.patience.let_go(self)
            raise
        # Not inside the handler: aiohttp's errors hold the request's headers, and with them the
        # key, and whatever is raised there would carry them as its context.
        if failed is not None:
            upstream.patience.let_go(self)
            raise failed
        if self.status == _REFUSED_KEY:
            upstream.keys.forget(request.endpoint)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the connection back if the answer was read to its end, or else close it."""
        self._upstream.patience.let_go(self)
        # Where the end was reached the connection is back in its pool already.
        self._entered.close()

    def expire(self) -> None:
        """End the exchange: it has waited as long as it may."""
        self._ran_out = self._waits_for
        if self._response is not None:
            self._response.close()
        elif self._task is not None:
            self._task.cancel()

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._entered.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers by lower-case name."""
        key = self._key.key.decode()
        return {
            name.lower(): value.replace(key, "***") if key and key in value else value
            for name, value in self._entered.headers.items()
        }

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises UpstreamFailed TIMEOUT or BROKEN."""
        return self._refusal() if self.status >= _FIRST_ERROR else self._body()

    @property
    def _entered(self) -> aiohttp.ClientResponse:
        assert self._response is not None, "an answer is there once the context is entered"
        return self._response

    async def _refusal(self) -> AsyncIterator[bytes]:
        """Yield the body of a refusal whole.

        One that breaks off is cut there: the status has said what matters.
        """
        found = bytearray()
        with suppress(UpstreamFailed):
            async for chunk in self._body():
                found += chunk
                if len(found) > _MOST_ERROR:
                    del found[_MOST_ERROR:]
                    break
        yield bytes(found)

    async def _body(self) -> AsyncIterator[bytes]:
        struck = StruckOut(self._key.key)
        left = self._upstream.most_body
        content = self._entered.content
        request = self._request
        ends = self._began + request.total_ms / 1000
        bound, what = self._began + request.first_byte_ms / 1000, "first_byte"
        now = asyncio.get_running_loop().time
        failed: UpstreamFailed | None = None
        while True:
            try:
                chunk = content.read_nowait()
                if not chunk:
                    if content.at_eof():
                        break
                    self._waits_for = what if bound < ends else "total"
                    self.due = min(bound, ends)
                    chunk = await content.readany()
                    self.due = NEVER
            except (aiohttp.ClientError, OSError) as error:
                failed = _failure(error, request)
                break
            if not chunk:
                continue
            left -= len(chunk)
            if left < 0 or now() > ends:
                failed = self._excess(left)
                break
            chunk = struck.feed(chunk)
            if chunk:
                yield chunk
            bound, what = now() + request.idle_ms / 1000, "idle"
        failed = self._late() if self._ran_out else failed
        rest = struck.rest()
        if rest:
            yield rest
        if failed is not None:
            raise failed

    def _excess(self, left: int) -> UpstreamFailed:
        if left < 0:
            most = self._upstream.most_body
            return UpstreamFailed(FailureClass.BROKEN, f"the answer exceeds {most} bytes")
        self._ran_out = "total"
        return self._late()

    def _late(self) -> UpstreamFailed:
        request = self._request
        waited = {
            "first_byte": ("no first byte", request.first_byte_ms),
            "idle": ("nothing more", request.idle_ms),
        }
        said, limit_ms = waited.get(self._ran_out, ("no end of the answer", request.total_ms))
        return UpstreamFailed(FailureClass.TIMEOUT, f"{said} within {limit_ms} ms")


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


def _failure(error: Exception, request: UpstreamRequest) -> UpstreamFailed:
    """Return what an exception of the client means, in words that are all our own."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            kind, why = FailureClass.CONNECT, f"no connection within {request.connect_ms} ms"
        case TimeoutError():
            kind, why = FailureClass.TIMEOUT, f"no answer within {request.total_ms} ms"
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
