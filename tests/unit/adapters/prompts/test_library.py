"""Prompt templates: what they must state, what they can reach, and what a person reads in them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from uuid import UUID

import pytest

from caopan.adapters.prompts.library import PromptLibrary
from caopan.adapters.prompts.sample import sample_observation
from caopan.application.decision_cycle.briefing import Prompting, brief
from caopan.application.decision_cycle.outside_text import fence
from caopan.kernel.errors import ConfigInvalid

GOLDEN = Path(__file__).parent / "golden"
FRONT = """+++
template_id = "mine"
role = "actor"
version = "1.0.0"
locale = "en"
variables = [{variables}]
change_log = "first"
+++
"""


def template(body, variables='"nav"'):
    return FRONT.format(variables=variables) + body


def rendered(locale, template_id="actor"):
    library = PromptLibrary()
    prompting = Prompting(library, library.find(template_id, locale))
    proposal = '{"symbol": "600001.SH", "type": "no_op"}'
    return brief(
        sample_observation(),
        prompting,
        content_hash="ab" * 32,
        fence=fence(UUID(int=7)),
        proposal=proposal,
    ).prompt


def golden_text(prompt):
    """Return a prompt as its golden file holds it."""
    return "\n".join(f"=== {one.role}\n{one.content}" for one in prompt.messages) + "\n"


@pytest.mark.parametrize("template_id", ["actor", "checker"])
@pytest.mark.parametrize("locale", ["zh", "en"])
def test_a_person_can_read_what_a_model_is_shown(locale, template_id):
    prompt = rendered(locale, template_id)
    golden = GOLDEN / f"{prompt.version}.txt"
    assert golden_text(prompt) == golden.read_text("utf-8"), (
        f"{golden} differs; see docs/actor.md to renew it"
    )


def test_both_languages_show_the_same_figures():
    zh, en = ("\n".join(m.content for m in rendered(locale).messages) for locale in ("zh", "en"))
    for figure in ("600001.SH", "488000.00", "0188-open", "+1.23%", "news-2", "4900", "9.30"):
        assert zh.count(figure) == en.count(figure) > 0


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_the_account_is_nobodys(locale):
    assert "880012345678" not in "".join(one.content for one in rendered(locale).messages)


def test_a_prompt_is_the_same_every_time_and_its_digest_is_of_its_text():
    assert rendered("zh") == rendered("zh")
    assert rendered("zh").digest != rendered("en").digest


def test_variables_are_given_as_declared_or_not_at_all():
    library = PromptLibrary()
    mine = library.read(template("=== user\nNAV {{ nav }}"), "mine.md")
    assert library.render(mine, {"nav": 1}).messages[0].content == "NAV 1"
    for given in ({}, {"nav": 1, "more": 2}):
        with pytest.raises(ConfigInvalid, match=r"missing|not declared") as caught:
            library.render(mine, given)
        assert caught.value.code == "PROMPT_VARIABLE"


@pytest.mark.parametrize(
    "text",
    [
        "no front",
        template("=== user\n{{ cash }}"),
        template("=== user\n{{ nav"),
        template("=== user\nno variable"),
        template("=== tool\n{{ nav }}"),
        template("stray\n=== user\n{{ nav }}"),
        template("=== user\n{{ nav }}").replace("1.0.0", "one"),
        template("=== user\n{{ nav }}").replace('role = "actor"', "role = 7"),
        template("=== user\n{{ nav }}").replace("role", "roll"),
        template("=== user\n{{ nav | attr('x') }}"),
    ],
)
def test_a_template_that_is_not_one_is_refused_whole(text):
    with pytest.raises(ConfigInvalid) as caught:
        PromptLibrary().read(text, "mine.md")
    assert caught.value.code == "PROMPT_INVALID"
    assert "mine.md" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        "{{ nav.__class__.__mro__ }}",
        "{{ ''.__class__ }}{{ nav }}",
        "{{ nav.missing }}",
        "{{ nav() }}",
        "{% for i in nav %}{% endfor %}",
    ],
)
def test_a_template_reaches_nothing_but_its_variables(body):
    library = PromptLibrary()
    mine = library.read(template(f"=== user\n{body}"), "mine.md")
    with pytest.raises(ConfigInvalid):
        library.render(mine, {"nav": 1})


def test_a_users_template_stands_beside_the_bundled_ones(tmp_path):
    (tmp_path / "mine.md").write_text(template("=== user\n{{ nav }}"), "utf-8")
    library = PromptLibrary(tmp_path)
    assert library.find("mine", "en").name == "mine-1.0.0.en"
    assert library.find("actor-2.0.0.zh", "en").locale == "zh"
    with pytest.raises(ConfigInvalid, match=r"actor-2\.0\.0\.zh") as caught:
        library.find("missing", "en")
    assert caught.value.code == "PROMPT_UNKNOWN"


def test_a_version_never_changes_its_text(tmp_path):
    name = "actor-2.0.0.zh.md"
    bundled = resources.files("caopan.adapters.prompts.templates").joinpath(name)
    (tmp_path / name).write_text(bundled.read_text("utf-8") + "\nmore", "utf-8")
    with pytest.raises(ConfigInvalid, match="another text"):
        PromptLibrary(tmp_path).all()
