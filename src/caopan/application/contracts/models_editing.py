"""Small changes of a models document: one endpoint more, one field changed, one endpoint less.

Owns how a change a person asks for becomes the next document. Must never judge the result (parsing
does, whole) nor change the document it was given. Tests:
tests/unit/application/contracts/test_models_editing.py.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from caopan.application.contracts.models_parsing import is_private
from caopan.domain.gateway.endpoint import EndpointKind
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid

Document = dict[str, Any]
WHOLE = "document"
"""Names the settings that belong to no endpoint and no alias."""
_OWN_KINDS = frozenset({EndpointKind.BUILTIN, EndpointKind.REPLAY, EndpointKind.FAULTY})
ALIAS = "alias:"
"""Begins the name of an alias' settings."""


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """What a person says of an endpoint to be added; the profile knows the rest."""

    profile: Profile
    model: str
    alias: str
    secret_ref: str | None = None
    name: str | None = None
    url: str | None = None
    private_address: bool = False


def with_endpoint(document: Mapping[str, Any], new: NewEndpoint) -> Document:
    """Return the document with one endpoint more."""
    changed = _copied(document)
    part: Document = {"alias": new.alias, "provider": new.profile.name, "model": new.model}
    # Named from the beginning: a default name would change with the alias.
    part["name"] = new.name or f"{new.alias}-{new.profile.name}"
    if new.url is not None:
        part["endpoint_url"] = new.url
    if new.secret_ref is not None:
        part["auth_secret_ref"] = new.secret_ref
    if new.profile.name in _OWN_KINDS:
        part["kind"] = new.profile.name
    # Whose preset lies on this machine is meant to be there.
    at_home = new.url is None and is_private(urlsplit(new.profile.url).hostname or "")
    if new.private_address or at_home:
        part["private_address"] = True
    _list_of(changed, "endpoints").append(part)
    return changed


def without_endpoint(document: Mapping[str, Any], name: str) -> Document:
    """Return the document without an endpoint, nor what referred to it alone.

    Raises ConfigInvalid ENDPOINT_UNKNOWN.
    """
    changed = _copied(document)
    gone = _endpoint(changed, name)
    _list_of(changed, "endpoints").remove(gone)
    served = {str(part.get("alias")) for part in _endpoints(changed)}
    aliases = cast("dict[str, Document]", changed.get("aliases", {}))
    for alias, settings in list(aliases.items()):
        also = cast("list[Document]", settings.get("also", []))
        kept = [one for one in also if one.get("endpoint") != name]
        if also:
            settings["also"] = kept
        if alias not in served and not kept:
            del aliases[alias]
    return changed


def with_field(
    document: Mapping[str, Any],
    name: str,
    field: str,
    text: str,
    judge: Callable[[Document], object],
) -> Document:
    """Return the document with one field of an endpoint, an alias or the whole changed.

    `name` is an endpoint's, `alias:ALIAS` or `document`; `field` a dotted path such as
    `routing.weight`; `text` JSON or plain text, whichever the field takes. `judge` parses a
    candidate.

    Raises ConfigInvalid ENDPOINT_UNKNOWN, FIELD_UNKNOWN, or what `judge` raises where neither
    reading is taken.
    """
    refused: ConfigInvalid | None = None
    for value in _readings(text):
        changed = _copied(document)
        place, last = _reached(_place(changed, name), field.split("."), field)
        place[last] = value
        try:
            judge(changed)
        except ConfigInvalid as error:
            refused = refused or error
        else:
            return changed
    if refused is None:
        raise TypeError(text)
    raise refused


def _readings(text: str) -> list[Any]:
    """Return what a person may have meant: JSON first, then the text as it stands."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    return [value] if isinstance(value, str) else [value, text]


def _place(document: Document, name: str) -> Document:
    if any(_name_of(part) == name for part in _endpoints(document)):
        return _endpoint(document, name)
    if name == WHOLE:
        return document
    if name.startswith(ALIAS):
        aliases = cast("dict[str, Document]", document.setdefault("aliases", {}))
        return aliases.setdefault(name.removeprefix(ALIAS), {})
    return _endpoint(document, name)


def _reached(place: Document, steps: list[str], field: str) -> tuple[Document, str]:
    for step in steps[:-1]:
        inner: object = place.setdefault(step, {})
        if not isinstance(inner, dict):
            raise ConfigInvalid(
                "FIELD_UNKNOWN",
                f"{field}: {step} has no fields of its own",
                remedy="give the whole value as JSON, or see `caopan models export --schema`",
            )
        place = cast("Document", inner)
    return place, steps[-1]


def _endpoint(document: Document, name: str) -> Document:
    for part in _endpoints(document):
        if _name_of(part) == name:
            return part
    known = ", ".join(sorted(_name_of(part) for part in _endpoints(document)))
    raise ConfigInvalid(
        "ENDPOINT_UNKNOWN",
        f"there is no endpoint {name!r}",
        remedy=f"choose one of {known}; alias:ALIAS and document are for settings beside them",
    )


def _name_of(part: Mapping[str, Any]) -> str:
    return str(part.get("name") or f"{part.get('alias')}-{part.get('provider')}")


def _endpoints(document: Document) -> list[Document]:
    return cast("list[Document]", _list_of(document, "endpoints"))


def _list_of(document: Document, field: str) -> list[Any]:
    return cast("list[Any]", document.setdefault(field, []))


def _copied(document: Mapping[str, Any]) -> Document:
    return copy.deepcopy(dict(document))
