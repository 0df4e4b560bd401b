"""`caopan decide --dry-run`: what a desk would see and decide, with nothing left behind."""

from __future__ import annotations

import asyncio
import json
from datetime import date, datetime, time, timedelta

import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.bootstrap.cycling import CycleRequest, run_cycle
from caopan.bootstrap.deciding import decide_on_file
from caopan.bootstrap.desk_glimpse import decide_on_desk
from caopan.bootstrap.desks import DeskChoice
from caopan.bootstrap.ledgers import read_story
from caopan.bootstrap.prompts import RenderRequest, render_template
from caopan.interfaces.cli.__main__ import main
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units
from caopan.messages import catalogue
from caopan.settings import load_settings

MONDAY, TUESDAY = date(2025, 6, 9), date(2025, 6, 10)
CHOICE = DeskChoice(model="builtin/momentum", seed=7)


class Home:
    """A desk of a home: what is decided there, and what is only looked at."""

    def __init__(self, url, path):
        self.url, self.settings = url, load_settings({"home": path}, environ={})

    def decide(self, moment: datetime):
        request = CycleRequest(cash=units(1_000_000), model=None, data=None, seed=7, at=moment)
        return asyncio.run(run_cycle(self.url, self.settings, request))

    def look(self, moment: datetime, *, repeat=1, choice=CHOICE):
        return asyncio.run(decide_on_desk(self.url, self.settings, choice, moment, repeat))

    def story(self, cycle):
        story = asyncio.run(read_story(self.url, str(cycle.decision_id), None))
        assert story is not None
        return {one["stage"]: one["payload"] for one in story.as_json()["entries"]}

    def left(self):
        """Return all that a look could have left behind."""

        async def read():
            async with PostgresStore(self.url) as store:
                found = []
                for run in await store.runs():
                    async with store.begin(run.run_id) as uow:
                        found.append(
                            (
                                await uow.ledger.head(),
                                await uow.cycles.all(),
                                await uow.orders.all(),
                                await uow.journal.transactions(),
                            )
                        )
                return found

        return asyncio.run(read())


@pytest.fixture
def home(clean_database, tmp_path):
    return Home(clean_database, tmp_path)


def asked(actions):
    return [[one.get(name) for name in ("symbol", "side", "qty", "price")] for one in actions]


def without_names(observation):
    """Return an observation without what names it and its moment."""
    named = {"observation_id", "content_hash", "generated_at", "clock"}
    return {name: value for name, value in observation.items() if name not in named}


def test_it_decides_what_cycle_would_and_leaves_nothing_behind(home):
    home.decide(at_shanghai(MONDAY, time(9, 16)))
    home.decide(at_shanghai(TUESDAY, time(9, 16)))
    before = home.left()
    moment = at_shanghai(TUESDAY, time(9, 18))
    told = home.look(moment, repeat=2)
    assert home.left() == before
    assert told["desk"]["data"]["synthetic"] is True
    assert (told["sent"], told["recorded"]) == (False, False)
    assert told["agreement"]["unanimous"] is True
    story = home.story(home.decide(moment).cycle)
    assert without_names(told["seen"]) == without_names(story["observation"])
    first, second = (asked(one["decision"]["actions"]) for one in told["decisions"])
    assert first == second == asked(json.loads(story["actor"]["reply"])["actions"])


def test_what_it_has_seen_is_an_observation_file(home, tmp_path):
    home.decide(at_shanghai(MONDAY, time(9, 16)))
    told = home.look(at_shanghai(MONDAY, time(10)))
    path = tmp_path / "o.json"
    path.write_text(json.dumps(told["seen"]), "utf-8")
    again = asyncio.run(decide_on_file(home.settings, "builtin/momentum", path, 1))
    assert again["observation"] == told["observation"]
    assert again["decisions"][0]["decision"] == told["decisions"][0]["decision"]
    assert again["decisions"][0]["pass"] is True
    assert render_template(home.settings, RenderRequest("actor", path))["left_out"] == {}


def test_a_desk_with_days_to_close_is_not_shown_as_it_is_not(home):
    home.decide(at_shanghai(MONDAY, time(9, 16)))
    with pytest.raises(ConfigInvalid) as caught:
        home.look(at_shanghai(TUESDAY, time(9, 16)))
    assert caught.value.code == "DESK_BEHIND"
    assert "2025-06-09" in caught.value.message
    assert home.look(at_shanghai(MONDAY, time(10)))["decisions"]


def test_a_desk_that_is_not_there_is_not_opened(home):
    with pytest.raises(ConfigInvalid) as caught:
        home.look(at_shanghai(MONDAY, time(9, 16)))
    assert caught.value.code == "DESK_UNKNOWN"
    assert home.left() == []


def test_it_does_not_look_back(home):
    moment = at_shanghai(MONDAY, time(10))
    home.decide(moment)
    with pytest.raises(ConfigInvalid) as caught:
        home.look(moment - timedelta(minutes=1))
    assert caught.value.code == "CLOCK_BACKWARDS"


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_person_looks_at_the_desk_from_the_shell(home, services, monkeypatch, capsys, lang):
    home.decide(at_shanghai(MONDAY, time(9, 16)))
    monkeypatch.setenv("CAOPAN_HOME", str(home.settings.home))
    monkeypatch.setenv("DATABASE_URL", home.url)
    monkeypatch.setenv("REDIS_URL", services.redis_url)
    words = ("--model", "builtin/momentum", "--at", "2025-06-09T10:00", "--lang", lang)
    assert main(("decide", "--dry-run", *words)) == 0
    told = capsys.readouterr().out
    assert catalogue(lang)["run.synthetic"] in told
    assert catalogue(lang)["decide.nothing_done"] in told
    assert main(("decide", "--dry-run", *words, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["seen"]["clock"]["trading_day"] == "2025-06-09"
