"""Who decides at a desk, what it is shown, and who looks at its proposals.

Owns `choose_deciders` and the file actor.json in CAOPAN_HOME. Must never fall back to another model
or prompt than the one asked for. Tests: tests/unit/bootstrap/test_models.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, cast

from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.llm.builtin.traders import BUILTIN
from caopan.adapters.llm.openai_compatible import OpenAICompatibleModel
from caopan.adapters.prompts.library import PromptLibrary
from caopan.application.decision_cycle.briefing import BUDGET_TOKENS, Prompting
from caopan.application.decision_cycle.model_checker import ModelChecker
from caopan.application.ports.model import Model
from caopan.application.ports.prompts import Template
from caopan.bootstrap.gateway_presence import running_gateways
from caopan.kernel.errors import ConfigInvalid, Unavailable
from caopan.settings import Settings, resolve_secret

FILE: Final = "actor.json"
MODEL_DEADLINE_MS: Final = 180_000
"""How long an actor has for a decision, re-asks included."""
GATEWAY: Final = "gateway:"
_BOUNDS: Final = {
    "budget_tokens": (2_000, 1_000_000),
    "samples": (1, 9),
    "checker_deadline_ms": (1_000, 180_000),
}


@dataclass(frozen=True, slots=True)
class ActorFile:
    """What actor.json may say; every field has a default."""

    prompt: str = "actor"
    """Template of the actor: an id, or a whole name such as `actor-2.0.0.zh`."""
    budget_tokens: int = BUDGET_TOKENS
    samples: int = 1
    """More than one: that many answers are put to a vote. Off by default."""
    checker: str | None = None
    """A second model that looks at proposals; None: rules alone."""
    checker_prompt: str = "checker"
    checker_deadline_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Deciders:
    """The models of a desk."""

    model: Model
    prompting: Prompting | None = None
    """None where a rule decides."""
    checker: ModelChecker | None = None
    samples: int = 1


def choose_deciders(name: str | None, settings: Settings, policy_version: str) -> Deciders:
    """Return the model called `name`, else the configured one, with what actor.json says of it.

    Raises:
        ConfigInvalid: MODEL_UNKNOWN, PROMPT_UNKNOWN, PROMPT_INVALID, ACTOR_FILE_INVALID.
        Unavailable: GATEWAY_NOT_RUNNING if a model is behind the gateway and none runs.
    """
    asked = name or settings.model or "builtin/momentum"
    if asked in BUILTIN:
        return Deciders(BUILTIN[asked]())
    said = read_actor_file(settings.home / FILE)
    prompts = PromptLibrary(settings.home / "prompts")
    template = _template(prompts, said.prompt, "actor", settings)
    checker = None
    if said.checker is not None:
        judged_by = _template(prompts, said.checker_prompt, "checker", settings)
        checker = ModelChecker(
            model=_model(said.checker, settings, judged_by),
            prompting=Prompting(prompts, judged_by, said.budget_tokens),
            deadline_ms=said.checker_deadline_ms,
            config_version=policy_version,
        )
    return Deciders(
        model=_model(asked, settings, template),
        prompting=Prompting(prompts, template, said.budget_tokens),
        checker=checker,
        samples=said.samples,
    )


def read_actor_file(path: Path) -> ActorFile:
    """Return what the file says, the defaults where there is none.

    Raises ConfigInvalid ACTOR_FILE_INVALID naming field, value and remedy.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return ActorFile()
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(path, f"it cannot be read: {error}") from error
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(path, f"it is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise _invalid(path, "it is not one JSON object")
    told = cast("dict[str, Any]", value)
    known = {field.name for field in fields(ActorFile)}
    for field, found in told.items():
        if field not in known:
            raise _invalid(path, f"{field!r} is not a field of it")
        if field in _BOUNDS:
            low, high = _BOUNDS[field]
            if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= high:
                raise _invalid(path, f"{field} is {found!r}, not a whole number {low} to {high}")
        elif not isinstance(found, str) and not (field == "checker" and found is None):
            raise _invalid(path, f"{field} is {found!r}, not a text")
    return ActorFile(**told)


def _template(prompts: PromptLibrary, name: str, role: str, settings: Settings) -> Template:
    """Return the template called `name`. One written for another role answers another question."""
    found = prompts.find(name, settings.lang)
    if found.role != role:
        what = f"template {found.name} is for the {found.role}, and the {role} is to be shown it"
        raise _invalid(settings.home / FILE, what)
    return found


def _model(asked: str, settings: Settings, template: Template) -> Model:
    base_url, key, alias = settings.model_base_url, None, asked
    if behind := asked.startswith(GATEWAY):
        running = running_gateways(settings.home)
        if not running:
            raise Unavailable(
                "GATEWAY_NOT_RUNNING",
                f"{asked} is behind the model gateway, and none of this home runs",
                remedy="start one: caopan gateway",
            )
        base_url, alias = f"{running[0].url}/v1", asked.removeprefix(GATEWAY)
        key = running[0].key
    elif asked.startswith("builtin/") or base_url is None:
        raise ConfigInvalid(
            "MODEL_UNKNOWN",
            f"there is no model {asked!r} here",
            remedy=f"use {', '.join(sorted(BUILTIN))}, gateway:ALIAS, or set"
            " CAOPAN_MODEL_BASE_URL to an OpenAI-compatible endpoint",
        )
    elif settings.model_key is not None:
        key = resolve_secret(settings.model_key)
    return OpenAICompatibleModel(
        base_url=base_url,
        model=alias,
        api_key=None if key is None else key.get_secret_value(),
        monotonic_ms=monotonic_ms,
        prompt_version=template.name,
        prompt_hash=template.digest,
        is_gateway=behind,
    )


def _invalid(path: Path, what: str) -> ConfigInvalid:
    return ConfigInvalid(
        "ACTOR_FILE_INVALID",
        f"{path}: {what}",
        remedy=f"its fields are {', '.join(field.name for field in fields(ActorFile))};"
        " see docs/actor.md",
    )
