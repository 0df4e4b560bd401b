"""`caopan prompt` as a person or a script meets it."""

import json
from copy import deepcopy
from itertools import pairwise

import pytest

from caopan.adapters.prompts.library import PromptLibrary
from caopan.adapters.prompts.sample import sample_observation
from caopan.application.decision_cycle.outside_text import fence
from caopan.bootstrap.prompts import TRACE
from caopan.interfaces.cli.__main__ import main
from caopan.messages import catalogue

MINE = """+++
template_id = "mine"
role = "actor"
version = "1.2.0"
locale = "en"
variables = [{variables}]
change_log = "first"
+++
=== system
Between {{{{ fence }}}} stands what strangers wrote.
=== user
{body}
"""
BODY = (
    "NAV {{ account.nav }}\n{{ fence }}\n{% for n in news %}{{ n.title }}\n{% endfor %}{{ fence }}"
)
VARIABLES = '"account", "fence", "news"'
SPARSE = {
    "observation_id": "x",
    "generated_at": "2026-11-20T10:00:00+08:00",
    "clock": {"trading_day": "2026-11-20", "phase": "continuous_am", "seconds_to_phase_end": 5400},
    "account": {"account_id": "880012345678", "nav": "1000000.00", "cash": "500000.00"},
    "positions": [{"symbol": "600519.SH", "qty": 600, "sellable_qty": 500}],
    "features": {"600519.SH": {"last": "10.00"}},
    "market_rules": {"600519.SH": {"limit_up": "11.00", "limit_down": None}},
    "open_orders": [{"order_id": "o-1", "symbol": "600519.SH", "qty": 500}],
    "news": [{"title": "read me"}],
    "events": {"600519.SH": [{"type": "unlock"}]},
    "own_record": [{"status": "no_op", "orders": [], "refusals": []}],
    "costs": {"commission_rate": "0.00025"},
}
DECISION = {
    "observation_ref": "x",
    "account_view": {"nav": "510000.00", "cash": "500000.00"},
    "notes": "mind the queue",
    "actions": [{"type": "set_target", "symbol": "600002.SH", "target_weight": "0.1"}],
}


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    for name in ("CAOPAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "CAOPAN_DEBUG", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def prompt(capsys):
    """Return prompt(*words): the exit code and what was told."""

    def _prompt(*words):
        code = main(("prompt", *map(str, words)))
        out = capsys.readouterr().out
        return code, json.loads(out) if "--json" in words else out

    return _prompt


@pytest.fixture
def file(tmp_path):
    """Return file(name, body): the path of a file that holds it."""

    def _file(name, body):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        path.write_text(text, "utf-8")
        return path

    return _file


def mine(body=BODY, variables=VARIABLES):
    return MINE.format(body=body, variables=variables)


def sample(symbols=5):
    return {"observation_id": "x", **sample_observation(symbols)}


def test_every_template_is_listed_with_what_it_is(prompt, file):
    file("home/prompts/mine.md", mine())
    code, told = prompt("ls", "--json")
    assert code == 0
    found = {one["name"]: one for one in told["templates"]}
    assert found.keys() >= {
        *("actor-2.0.0.zh", "actor-2.0.0.en", "checker-1.0.0.zh", "checker-1.0.0.en"),
        "mine-1.2.0.en",
    }
    assert {name for name, one in found.items() if not one["bundled"]} == {"mine-1.2.0.en"}
    library = {one.name: one for one in PromptLibrary().all()}
    for name, one in library.items():
        assert found[name]["hash"] == one.digest
        assert (found[name]["role"], found[name]["change_log"]) == (one.role, one.change_log)
    assert prompt("ls")[1].count("mine-1.2.0.en") == 1


def test_a_broken_template_of_ones_own_is_named(prompt, file):
    file("home/prompts/broken.md", "no front")
    code, told = prompt("ls", "--json")
    assert (code, told["error"]["code"]) == (2, "PROMPT_INVALID")
    assert "broken.md" in told["error"]["message"]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_person_reads_what_a_model_would_be_sent(prompt, file, lang):
    seen = file("o.json", sample())
    code, told = prompt("render", "actor", "--observation", seen, "--lang", lang)
    assert code == 0
    assert told.startswith("=== system\n")
    assert "\n=== user\n" in told
    assert "600005.SH" in told
    mark = fence(TRACE)
    assert catalogue(lang)["prompt.fence"].format(fence=mark) in told
    assert catalogue(lang)["prompt.nothing_left_out"] in told
    assert "880012345678" not in told, "the account is nobody's"


def test_a_script_gets_messages_hashes_and_what_was_left_out(prompt, file):
    seen = file("o.json", sample(60))
    words = ("render", "actor-2.0.0.en", "--observation", seen, "--json")
    code, told = prompt(*words)
    assert code == 0
    assert [one["role"] for one in told["messages"]] == ["system", "user"]
    assert (told["left_out"], told["template"]) == ({}, "actor-2.0.0.en")
    assert told["fence"] == fence(TRACE)
    assert prompt(*words)[1] == told, "the same every time"
    _, short = prompt(*words, "--budget", "3500")
    assert short["tokens"] <= short["budget_tokens"] == 3_500 < told["tokens"]
    assert len(short["left_out"]["candidates"]) > 0
    assert short["prompt_hash"] != told["prompt_hash"]
    assert short["template_hash"] == told["template_hash"]


def test_what_a_file_does_not_say_is_shown_as_unknown(prompt, file):
    seen = file("o.json", SPARSE)
    for lang in ("zh", "en"):
        code, told = prompt("render", "actor", "--observation", seen, "--lang", lang, "--json")
        assert code == 0, told
        user = told["messages"][1]["content"]
        row = next(line for line in user.splitlines() if line.startswith("600519.SH |"))
        assert "| - | - |" in row, "quantities that rules and cash permit"
        assert "--11.00" in row
        assert "880012345678" not in user


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"clock": None}, "clock"),
        ({"clock": {"trading_day": "2026-11-20", "phase": "closed"}}, "seconds_to_phase_end"),
        ({"universe": "all"}, "universe"),
        ({"market": []}, "market"),
        ({"data_quality": {"bars": 1}}, "data_quality.bars"),
        ({"own_record": [{"refusals": [1]}]}, "own_record[0].refusals[0]"),
        ({"own_record": [{"refusals": [], "orders": [1]}]}, "own_record[0].orders[0]"),
        ({"costs": "none"}, "costs"),
        ({"account": {"nav": "1"}}, "account.cash"),
    ],
)
def test_a_wrong_observation_names_the_field(prompt, file, change, named):
    seen = file("o.json", deepcopy(SPARSE) | change)
    code, told = prompt("render", "actor", "--observation", seen, "--json")
    assert (code, told["error"]["code"]) == (2, "GATE_FILE_INVALID")
    assert named in told["error"]["message"]


def test_a_checker_is_shown_the_proposal_and_its_securities_alone(prompt, file):
    seen, proposal = file("o.json", sample()), file("d.json", DECISION)
    words = ("render", "checker", "--observation", seen, "--lang", "en", "--json")
    _, told = prompt(*words, "--proposal", proposal)
    user = told["messages"][1]["content"]
    inside = user.split(fence(TRACE, "checker"))[1]
    assert '"target_weight": "0.1"' in inside
    assert "mind the queue" in inside
    assert "600002.SH |" in user
    assert "600003.SH |" not in user
    broken = file("reply.txt", "I would hold.")
    code, told = prompt(*words, "--proposal", broken)
    assert (code, told["error"]["code"]) == (2, "MODEL_PARSE_FAIL")
    code, told = prompt(*words, "--proposal", broken.with_name("none"))
    assert (code, told["error"]["code"]) == (2, "GATE_FILE_UNREADABLE")


def test_an_unknown_template_is_named_with_what_there_is(prompt, file):
    seen = file("o.json", sample())
    for words in (("render", "acter", "--observation", seen), ("test", "acter")):
        code, told = prompt(*words, "--json")
        assert (code, told["error"]["code"]) == (2, "PROMPT_UNKNOWN")
        assert "actor-2.0.0.en" in told["error"]["remedy"]


def test_two_templates_are_compared_line_by_line(prompt, file):
    one = file("one.md", mine())
    other = file("two.md", mine(BODY.replace("NAV", "Net asset value")).replace("1.2.0", "1.3.0"))
    code, told = prompt("diff", one, other, "--json")
    assert code == 0
    assert (told["from"], told["to"]) == ("mine-1.2.0.en", "mine-1.3.0.en")
    changed = [line for line in told["diff"] if line[0] in "+-" and line[:3] not in {"+++", "---"}]
    assert changed == [
        '-version = "1.2.0"',
        '+version = "1.3.0"',
        "-NAV {{ account.nav }}",
        "+Net asset value {{ account.nav }}",
    ]
    assert prompt("diff", one, one, "--json")[1]["diff"] == []
    assert catalogue("zh")["prompt.same"] in prompt("diff", one, one, "--lang", "zh")[1]


@pytest.mark.parametrize("name", ["actor", "checker"])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_bundled_templates_are_usable_at_any_size(prompt, name, lang):
    code, told = prompt("test", name, "--lang", lang, "--json")
    assert (code, told["pass"], told["faults"]) == (0, True, [])
    small, large = told["renderings"]
    assert (small["input"], large["input"]) == ("sample", "worst_case")
    assert small["left_out"] == {}
    assert small["tokens"] < large["tokens"] <= 16_000
    assert large["left_out"]["candidates"] > 0
    assert prompt("test", name, "--lang", lang)[0] == 0


def test_a_template_of_ones_own_is_tried_on_ones_own_observation(prompt, file):
    code, told = prompt(
        *("test", file("mine.md", mine()), "--observation", file("o.json", SPARSE), "--json")
    )
    assert (code, told["pass"]) == (0, True)
    assert [one["input"] for one in told["renderings"]] == ["sample", "worst_case", "observation"]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("no front", "PROMPT_INVALID", "+++"),
        (mine(variables='"account"'), "PROMPT_INVALID", "fence, news"),
        (mine("{{ account.nav }}{{ news }}", VARIABLES).replace("{{ fence }}", "marks"),
         "PROMPT_INVALID", "declared and used differ: fence"),
        (mine("{% for n in news %}{{ n.title }}{% endfor %}", '"news"')
         .replace("{{ fence }}", "marks"), "PROMPT_INVALID", "no fence around"),
        (mine("{% for n in news %}{{ n.title }}{% endfor %}", '"fence", "news"'),
         "PROMPT_INVALID", "outside its fence"),
        (mine("{{ fence }}{{ weather }}", '"fence", "weather"'), "PROMPT_VARIABLE", "weather"),
        (mine("{{ fence }}{{ clock.hour }}", '"fence", "clock"'), "PROMPT_VARIABLE", "hour"),
        (mine("{{ fence }}{{ fence.__class__ }}", '"fence"'), "PROMPT_INVALID", "reaches for"),
        (mine("{{ fence }}" + "so long " * 30_000, '"fence"'), "PROMPT_TOO_LARGE", "16000"),
        (mine().replace('role = "actor"', 'role = "analyst"'), "PROMPT_INVALID", "analyst"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_template_is_named(prompt, file, text, code, said):
    path = file("mine.md", text)
    exit_code, told = prompt("test", path, "--json")
    assert (exit_code, told["pass"]) == (1, False)
    assert {fault["code"] for fault in told["faults"]} == {code}
    assert said in told["faults"][0]["message"]
    exit_code, told = prompt("test", path, "--lang", "zh")
    assert exit_code == 1
    assert code in told


def test_a_bundled_templates_name_is_taken(prompt, file):
    text = mine().replace('"mine"', '"actor"').replace("1.2.0", "2.0.0")
    code, told = prompt("test", file("mine.md", text), "--json")
    assert code == 1
    assert "bundled template with another text" in told["faults"][0]["message"]


def test_a_missing_or_huge_file_is_a_fault_of_the_template(prompt, tmp_path, file):
    for path in (tmp_path / "none.md", file("huge.md", "x" * 300_000)):
        code, told = prompt("test", path, "--json")
        assert (code, told["faults"][0]["code"]) == (1, "PROMPT_INVALID")


def test_more_budget_never_shows_less(prompt, file):
    seen = file("o.json", sample(200))
    told = [
        prompt("render", "actor", "--observation", seen, "--budget", budget, "--json")[1]
        for budget in (3_000, 5_000, 8_000, 16_000)
    ]
    left = [len(one["left_out"].get("candidates", [])) for one in told]
    assert all(less >= more for less, more in pairwise(left))
    assert all(one["tokens"] <= one["budget_tokens"] for one in told)
