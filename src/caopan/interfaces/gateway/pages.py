"""Everything the gateway serves besides calls: models, health, metrics, its configuration.

Owns the routes of these pages, who may see them, and how a version is read and replaced over HTTP.
Must never show a key or the text of a call. Tests: tests/unit/interfaces/gateway/test_pages.py.

    GET  /v1/models, /v1/models/{alias}          any client key
    GET  /healthz, /readyz                       anybody
    GET  /metrics                                any client key; on loopback anybody
    GET  /api/config/models                      admin key; ETag is the version
    PUT  /api/config/models                      admin key, If-Match
    GET  /api/config/models/versions, /metrics, /schema   admin key
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from caopan.application.contracts.models_config import models_schema
from caopan.application.gateway.calls import CallRefused
from caopan.application.gateway.clients import checked_admin, models_for
from caopan.application.gateway.overview import shown
from caopan.application.ports.gateway import ClientKey, StoredConfig
from caopan.bootstrap.gateway_service import GatewayService
from caopan.interfaces.gateway.metrics import CONTENT_TYPE, metrics_page
from caopan.interfaces.gateway.wire import check_depth, read_body
from caopan.kernel.clock import iso
from caopan.kernel.errors import CaopanError, ConfigInvalid, Conflict, Unavailable

_MOST_VERSIONS: Final = 100
_LONGEST_NOTE: Final = 500
_MOST_DOCUMENT: Final = 8 * 1024 * 1024

Handler = Callable[[Request], Awaitable[Response]]


class Pages:
    """The pages of one gateway process."""

    def __init__(self, service: GatewayService, *, open_metrics: bool) -> None:
        """`open_metrics`: whoever reaches the gateway may read its metrics."""
        self._service = service
        self._open_metrics = open_metrics

    def app(self) -> Starlette:
        """Return the application that serves them."""
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/models/{alias:path}", self._model),
            Route("/healthz", _healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            Route("/api/config/models", self._document),
            Route("/api/config/models", self._put_document, methods=["PUT"]),
            Route("/api/config/models/versions", self._versions),
            Route("/api/config/models/metrics", self._overview),
            Route("/api/config/models/schema", self._schema),
        ]
        handlers: Mapping[Any, Any] = {
            HTTPException: _unknown,
            CallRefused: _refused,
            CaopanError: _failed,
            Exception: _broken,
        }
        return Starlette(routes=routes, exception_handlers=handlers)

    def _client(self, request: Request) -> ClientKey:
        found = request.headers.get("authorization")
        return self._service.clients.known(found, self._service.clock.now())

    def _admin(self, request: Request) -> ClientKey:
        client = self._client(request)
        checked_admin(client)
        return client

    async def _models(self, request: Request) -> Response:
        return _json(self._listed(self._client(request)))

    async def _model(self, request: Request) -> Response:
        alias = request.path_params["alias"]
        for model in self._listed(self._client(request))["data"]:
            if model["id"] == alias:
                return _json(model)
        message = f"There is no model {alias!r:.100}."
        raise CallRefused(404, "model_not_found", message, param="model")

    def _listed(self, client: ClientKey) -> dict[str, Any]:
        models = self._service.models
        return models_for(client, models.snapshot(), int(models.stored_at.timestamp()))

    async def _readyz(self, request: Request) -> Response:
        del request
        readiness = await self._service.readiness()
        return _json(readiness.shown(), 200 if readiness.is_ready else 503)

    async def _metrics(self, request: Request) -> Response:
        if not self._open_metrics:
            self._client(request)
        overview = await self._service.overview()
        return Response(metrics_page(overview), media_type=CONTENT_TYPE)

    async def _overview(self, request: Request) -> Response:
        self._admin(request)
        return _json(shown(await self._service.overview()))

    async def _schema(self, request: Request) -> Response:
        self._admin(request)
        return _json(models_schema())

    async def _document(self, request: Request) -> Response:
        self._admin(request)
        stored = await self._service.admin.in_force()
        return _json(stored.body, headers=_version_headers(stored))

    async def _versions(self, request: Request) -> Response:
        self._admin(request)
        found = await self._service.admin.config.history(_MOST_VERSIONS)
        return _json({"versions": [_version(one) for one in found]})

    async def _put_document(self, request: Request) -> Response:
        client = self._admin(request)
        expected = _expected(request.headers.get("if-match"))
        raw = await read_body(request.receive, request.headers, _MOST_DOCUMENT)
        check_depth(raw)
        body = _parsed(raw)
        note = request.headers.get("x-caopan-note", "")[:_LONGEST_NOTE]
        admin = self._service.admin
        # It may read files of secrets: calls go on meanwhile.
        judged = await asyncio.to_thread(admin.judge.judged, body, expected + 1)
        stored = await admin.config.put(
            body, author=client.name, note=note, expected=expected, at=self._service.clock.now()
        )
        self._service.models.take(stored)
        told = {**_version(stored), "warnings": list(judged.warnings)}
        return _json(told, headers=_version_headers(stored))


async def _healthz(request: Request) -> Response:
    del request
    return _json({"status": "ok"})


def _expected(etag: str | None) -> int:
    """Return the version that `If-Match` names. Raises CallRefused (428, 400)."""
    if etag is None:
        message = "Send If-Match with the version (ETag) that your document replaces."
        raise CallRefused(428, "if_match_required", message, param="if-match")
    text = etag.strip().removeprefix('"').removesuffix('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - digits of a version
        message = "If-Match names a version, as the ETag of GET does."
        raise CallRefused(400, "invalid_value", message, param="if-match")
    return int(text)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        found: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise CallRefused(400, "invalid_json", f"The body is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise CallRefused(400, "invalid_json", "The body is not a JSON object.")
    return cast("dict[str, Any]", found)


def _version(stored: StoredConfig) -> dict[str, Any]:
    return {
        "version": stored.version,
        "author": stored.author,
        "note": stored.note,
        "created_at": iso(stored.created_at),
    }


def _version_headers(stored: StoredConfig) -> dict[str, str]:
    return {"etag": f'"{stored.version}"', "cache-control": "no-store"}


def _json(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def _answer(refused: CallRefused) -> Response:
    answer = refused.answer()
    return Response(answer.body, answer.status, answer.headers)


async def _unknown(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:  # noqa: PLR2004 - method not allowed
        message = f"{request.method} is not allowed on {request.url.path!r:.200}."
        return _answer(CallRefused(405, "method_not_allowed", message))
    message = f"Unknown path {request.url.path!r:.200}."
    return _answer(CallRefused(error.status_code, "unknown_url", message))


async def _refused(request: Request, error: CallRefused) -> Response:
    del request
    return _answer(error)


async def _failed(request: Request, error: CaopanError) -> Response:
    del request
    match error:
        case ConfigInvalid():
            # The message of a refused document begins with the path of its first bad field.
            path = error.message.partition(":")[0].partition("=")[0].partition(" ")[0]
            refused = CallRefused(400, error.code, _told(error), param=path)
        case Conflict():
            refused = CallRefused(412, error.code, _told(error))
        case Unavailable():
            refused = CallRefused(503, error.code, _told(error), kind="server_error")
        case _:
            refused = CallRefused(500, error.code, _told(error), kind="server_error")
    return _answer(refused)


def _told(error: CaopanError) -> str:
    return f"{error.message} {error.remedy}".strip()


async def _broken(request: Request, error: Exception) -> Response:
    # The server above logs it.
    del request, error
    message = "Something in the gateway is broken; its log tells more."
    return _answer(CallRefused(500, "INTERNAL", message, kind="server_error"))
