"""Prompt templates of this home: listed, rendered, compared and tried, without network or database.

Owns what `caopan prompt` does. Must never render a template otherwise than a desk would. Tests:
tests/integration/cli/test_prompt.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.prompts.library import PromptLibrary
from caopan.adapters.prompts.sample import sample_observation
from caopan.application.contracts.decision import parse_reply
from caopan.application.contracts.reply.reading import MOST_CHARACTERS
from caopan.application.decision_cycle.briefing import BUDGET_TOKENS, Briefed, Prompting, brief
from caopan.application.decision_cycle.model_checker import concerned, proposal_text
from caopan.application.decision_cycle.outside_text import MOST_TITLE, cleaned, fence
from caopan.application.observation_file import read_shown
from caopan.application.ports.prompts import Template
from caopan.bootstrap.json_files import read_json
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import Settings

FOLDER: Final = "prompts"
TRACE: Final = UUID(int=0)
"""The trace whose mark stands around outside text here; each decision has a mark of its own."""
WORST_SYMBOLS: Final = 500
WORST_NEWS: Final = 100
_TELLING: Final = 10
"""Characters of a title that are not met by chance."""
_ROLES: Final = ("actor", "checker")


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What a person asked to see."""

    template: str
    """An id, a whole name, or a path to a file."""
    observation: Path
    budget_tokens: int = BUDGET_TOKENS
    proposal: Path | None = None
    """A decision in JSON, or a model's reply, for the checker to look at."""


def list_templates(settings: Settings) -> list[dict[str, Any]]:
    """Return every template there is, newest version first within an id and language.

    Raises ConfigInvalid PROMPT_INVALID naming the file of one's own that is none.
    """
    bundled = {template.digest for template in PromptLibrary().all()}
    return [
        {
            "name": template.name,
            "template_id": template.template_id,
            "version": template.version,
            "locale": template.locale,
            "role": template.role,
            "hash": template.digest,
            "change_log": template.change_log,
            "bundled": template.digest in bundled,
        }
        for template in _library(settings).all()
    ]


def render_template(settings: Settings, request: RenderRequest) -> dict[str, Any]:
    """Return the messages of a template on an observation, as a desk would send them.

    Raises:
        ConfigInvalid: PROMPT_UNKNOWN, PROMPT_INVALID, PROMPT_VARIABLE, PROMPT_TOO_LARGE;
            GATE_FILE_UNREADABLE or GATE_FILE_INVALID for the observation, MODEL_PARSE_FAIL for the
            proposal.
    """
    library = _library(settings)
    template = _find(library, request.template, settings)
    observation, made = read_shown(read_json(request.observation))
    values, proposal = observation.values, ""
    if request.proposal is not None:
        text = _text(request.proposal)
        decision, _ = parse_reply(text, decision_id=TRACE, made_at=made, valid_until=made)
        values, proposal = concerned(values, decision), proposal_text(decision)
    briefed = brief(
        values,
        Prompting(library, template, request.budget_tokens),
        content_hash=observation.content_hash,
        fence=fence(TRACE, template.role),
        proposal=proposal,
    )
    return {
        "template": template.name,
        "template_hash": template.digest,
        "prompt_hash": briefed.prompt.digest,
        "fence": fence(TRACE, template.role),
        "tokens": briefed.prompt.tokens,
        "budget_tokens": request.budget_tokens,
        "left_out": dict(briefed.left_out),
        "messages": [
            {"role": message.role, "content": message.content}
            for message in briefed.prompt.messages
        ],
    }


def compare_templates(settings: Settings, one: str, other: str) -> dict[str, Any]:
    """Return the unified diff of two templates. Raises as `render_template`."""
    library = _library(settings)
    first, second = (_find(library, name, settings) for name in (one, other))
    lines = difflib.unified_diff(_written(first), _written(second), first.name, second.name)
    return {"from": first.name, "to": second.name, "diff": [line.rstrip("\n") for line in lines]}


def try_template(settings: Settings, name: str, observation: Path | None) -> dict[str, Any]:
    """Return what is wrong with a template, and how it renders on small and on largest input.

    Raises:
        ConfigInvalid: PROMPT_UNKNOWN; and for the observation as `render_template`.
    """
    library = _library(settings, with_own=False) if _is_file(name) else _library(settings)
    inputs: dict[str, tuple[Mapping[str, Any], str]] = {
        "sample": _hashed(sample_observation()),
        "worst_case": _hashed(sample_observation(WORST_SYMBOLS, WORST_NEWS)),
    }
    if observation is not None:
        own, _ = read_shown(read_json(observation))
        inputs["observation"] = (own.values, own.content_hash)
    try:
        template = _find(library, name, settings)
    except ConfigInvalid as fault:
        if fault.code == "PROMPT_UNKNOWN":
            raise
        return {"template": name, "pass": False, "faults": [_fault(fault)], "renderings": []}
    faults = list(_own_faults(template))
    renderings: list[dict[str, Any]] = []
    for label, (values, content_hash) in inputs.items():
        began = monotonic_ms()
        try:
            briefed = _briefed(library, template, values, content_hash)
        except ConfigInvalid as fault:
            faults.append({"input": label, **_fault(fault)})
            continue
        took = round(monotonic_ms() - began, 1)
        left_out = {part: _size(found) for part, found in briefed.left_out.items()}
        told = {"tokens": briefed.prompt.tokens, "left_out": left_out, "ms": took}
        renderings.append({"input": label, **told})
        if _leaks(briefed, template, values):
            faults.append({"input": label, **_fault(_invalid("news stand outside its fence"))})
    return {
        "template": template.name,
        "pass": not faults,
        "faults": faults,
        "renderings": renderings,
    }


def _library(settings: Settings, *, with_own: bool = True) -> PromptLibrary:
    return PromptLibrary(settings.home / FOLDER if with_own else None)


def _is_file(name: str) -> bool:
    return name.endswith(".md") or "/" in name


def _find(library: PromptLibrary, name: str, settings: Settings) -> Template:
    return library.read_file(Path(name)) if _is_file(name) else library.find(name, settings.lang)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MOST_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        raise ConfigInvalid(
            "GATE_FILE_UNREADABLE",
            f"{path.name}: {error}",
            remedy="give a decision as JSON, or a model's reply as text",
        ) from error


def _written(template: Template) -> list[str]:
    """Return a template's lines, its fields first."""
    fields = (
        f'template_id = "{template.template_id}"',
        f'role = "{template.role}"',
        f'version = "{template.version}"',
        f'locale = "{template.locale}"',
        f"variables = {sorted(template.variables)}",
        f'change_log = "{template.change_log}"',
        *template.body.splitlines(),
    )
    return [f"{line}\n" for line in fields]


def _hashed(values: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    return values, sha256_hex(canonical(values))


def _briefed(
    library: PromptLibrary, template: Template, values: Mapping[str, Any], content_hash: str
) -> Briefed:
    return brief(
        values,
        Prompting(library, template),
        content_hash=content_hash,
        fence=fence(TRACE, template.role),
        proposal='{"symbol": "600001.SH", "type": "no_op"}',
    )


def _own_faults(template: Template) -> Iterator[dict[str, str]]:
    """Yield what is wrong before anything is rendered: nobody asks in its role, or a name taken."""
    if template.role not in _ROLES:
        yield _fault(_invalid(f"role {template.role!r} is none of {', '.join(_ROLES)}"))
    bundled = {one.name: one.digest for one in PromptLibrary().all()}
    if bundled.get(template.name, template.digest) != template.digest:
        yield _fault(_invalid(f"{template.name} is a bundled template with another text"))


def _leaks(briefed: Briefed, template: Template, values: Mapping[str, Any]) -> bool:
    """Tell whether a title from outside stands where no fence encloses it."""
    mark = fence(TRACE, template.role)
    titles = [cleaned(str(item.get("title", "")), MOST_TITLE) for item in values["news"]]
    for message in briefed.prompt.messages:
        outside = "".join(message.content.split(mark)[::2])
        # A word or two may well be the template's own.
        if any(len(title) >= _TELLING and title in outside for title in titles):
            return True
    return False


def _invalid(what: str) -> ConfigInvalid:
    return ConfigInvalid("PROMPT_INVALID", what)


def _fault(error: ConfigInvalid) -> dict[str, str]:
    return {"code": error.code, "message": error.message}


def _size(left_out: object) -> object:
    """Return how much was left out: the length of a list, a number as it is."""
    return len(left_out) if isinstance(left_out, list) else left_out  # pyright: ignore[reportUnknownArgumentType] - its members do not matter
