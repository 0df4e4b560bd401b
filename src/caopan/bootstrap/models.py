"""Which model answers, and what it is shown.

Owns `choose_model` (a built-in trader by name, or an endpoint from the settings) and
`choose_prompting`. Must never fall back to another model or prompt than the one asked for.
"""

from __future__ import annotations

from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.llm.builtin.traders import BUILTIN
from caopan.adapters.llm.openai_compatible import OpenAICompatibleModel
from caopan.adapters.prompts.library import PromptLibrary
from caopan.application.decision_cycle.briefing import BUDGET_TOKENS, Prompting
from caopan.application.ports.model import Model
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import Settings, resolve_secret


def choose_prompting(
    settings: Settings, template: str = "actor", budget_tokens: int = BUDGET_TOKENS
) -> Prompting:
    """Return the newest version of a template, or the one named, in the person's language.

    A person's own templates lie in `prompts` under CAOPAN_HOME.

    Raises:
        ConfigInvalid: PROMPT_UNKNOWN, PROMPT_INVALID.
    """
    prompts = PromptLibrary(settings.home / "prompts")
    return Prompting(prompts, prompts.find(template, settings.lang), budget_tokens)


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
    template = choose_prompting(settings).template
    return OpenAICompatibleModel(
        base_url=settings.model_base_url,
        model=asked,
        api_key=None if key is None else key.get_secret_value(),
        monotonic_ms=monotonic_ms,
        prompt_version=template.name,
        prompt_hash=template.digest,
    )
