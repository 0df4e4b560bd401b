"""Models that say what a test tells them to.

Owns ScriptedModel. Must never be used by production code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from caopan.application.ports.model import ModelReply, ModelRequest
from caopan.kernel.errors import CaopanError

Script = Callable[[ModelRequest], str | CaopanError]


class ScriptedModel:
    """A Model whose answer is computed by the test from the request."""

    is_language_model = False
    prompt_version = "scripted"
    prompt_hash = "0" * 64

    def __init__(self, script: Script, *, language: bool = False, alias: str = "scripted") -> None:
        """Answer with what `script` returns, or raise it if it is an error.

        A `language` model is shown a rendered prompt, wherever there is one to render.
        """
        self._script = script
        self.alias = alias
        if language:
            self.is_language_model = True
        self.requests: list[ModelRequest] = []

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the scripted answer."""
        self.requests.append(request)
        text = self._script(request)
        if isinstance(text, CaopanError):
            raise text
        return ModelReply(
            text=text,
            endpoint="scripted",
            provider="scripted",
            model_asked="scripted",
            model_served="scripted",
            request={},
            latency_ms=0,
        )


def decision_json(request: ModelRequest, *actions: Mapping[str, Any], **changes: object) -> str:
    """Return a well-formed decision on the request's observation with the given actions."""
    account = request.observation["account"]
    values: dict[str, Any] = {
        "observation_ref": request.observation_hash,
        "account_view": {"nav": account["nav"], "cash": account["cash"]},
        "actions": list(actions),
    }
    return json.dumps(values | changes)


def buy_action(symbol: str, qty: int, price: str, *, stop: str = "0.01") -> dict[str, Any]:
    """Return a buy with an exit plan."""
    return {
        "type": "place_order",
        "symbol": symbol,
        "side": "buy",
        "order_type": "limit",
        "price": price,
        "qty": qty,
        "exit_plan": {"stop_price": stop},
    }


def sell_action(symbol: str, qty: int, price: str) -> dict[str, Any]:
    """Return a sale."""
    return {
        "type": "place_order",
        "symbol": symbol,
        "side": "sell",
        "order_type": "limit",
        "price": price,
        "qty": qty,
    }
