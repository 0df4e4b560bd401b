"""Which model answers: a built-in trader by name, or an endpoint from the settings.

Owns `choose_model`. Must never fall back to another model than the one asked for.
"""

from __future__ import annotations

from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.llm.builtin.traders import BUILTIN
from caopan.adapters.llm.openai_compatible import OpenAICompatibleModel
from caopan.application.ports.model import Model
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import Settings, resolve_secret


def choose_model(name: str | None, settings: Settings) -> Model:
    """Return the model called `name`, else the configured endpoint's, else the built-in one.

    Raises:
        ConfigInvalid: MODEL_UNKNOWN if no built-in trader has the name and no endpoint is set.
    """
    asked = name or settings.model or "builtin/momentum"
    if asked in BUILTIN:
        return BUILTIN[asked]()
    if asked.startswith("builtin/") or settings.model_base_url is None:
        raise ConfigInvalid(
            "MODEL_UNKNOWN",
            f"there is no model {asked!r} here",
            remedy=f"use {', '.join(sorted(BUILTIN))}, or set CAOPAN_MODEL_BASE_URL "
            "to an OpenAI-compatible endpoint",
        )
    key = None if settings.model_key is None else resolve_secret(settings.model_key)
    return OpenAICompatibleModel(
        base_url=settings.model_base_url,
        model=asked,
        api_key=None if key is None else key.get_secret_value(),
        monotonic_ms=monotonic_ms,
    )
