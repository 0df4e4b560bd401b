"""`caopan models` and `caopan gateway key`, with the gateway running or not."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from caopan.bootstrap.gateway_stores import known_profiles
from caopan.interfaces.cli.__main__ import main
from caopan.messages import catalogue
from caopan.settings import load_settings
from caopan.testing.gateway_process import running_gateway
from caopan.testing.vendors.deepseek import DeepSeek
from caopan.testing.vendors.misbehaving import closed_port

ADD = ("models", "add", "deepseek", "--model", "deepseek-v4-flash", "--alias", "actor")
KEY = ("--key", "env:DEEPSEEK_API_KEY")


@pytest.fixture
def home(clean_database, redis_url, tmp_path, monkeypatch) -> Path:
    for name, value in {
        "CAOPAN_HOME": str(tmp_path / "home"),
        "DATABASE_URL": clean_database,
        "REDIS_URL": redis_url,
        "DEEPSEEK_API_KEY": DeepSeek().key,
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def caopan(home, capsys):
    def run(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def listed(caopan) -> dict[str, dict[str, Any]]:
    return {row["endpoint"]: row for row in caopan("models", "ls")[1]["endpoints"]}


def test_a_new_home_has_the_built_in_traders(caopan):
    assert set(listed(caopan)) == {"builtin/momentum", "builtin/mean_reversion"}


def test_an_endpoint_is_a_preset_a_model_and_a_key_reference(caopan):
    code, told = caopan(*ADD, *KEY)
    assert (code, told["version"], told["warnings"]) == (0, 2, [])
    row = listed(caopan)["actor-deepseek"]
    assert (row["model"], row["key"]) == ("deepseek-v4-flash", "env:DEEPSEEK_API_KEY")
    assert row["url"] == "https://api.deepseek.com/v1"


def test_a_field_is_changed_and_a_wrong_one_changes_nothing(caopan):
    caopan(*ADD, *KEY)
    assert caopan("models", "set", "actor-deepseek", "routing.weight", "0.5")[0] == 0
    assert caopan("models", "set", "alias:actor", "budget.daily_cny", "20")[0] == 0
    code, told = caopan("models", "set", "actor-deepseek", "routing.weight", "5")
    assert code == 2
    assert told["error"]["code"] == "MODELS_INVALID"
    assert told["error"]["message"].startswith("endpoints[2].routing.weight=5")
    assert listed(caopan)["actor-deepseek"]["weight"] == 0.5
    assert caopan("models", "ls")[1]["version"] == 4


def test_a_pasted_key_is_refused_and_not_repeated(caopan, capsys):
    pasted = "sk-3f9a7c1d5e8b2046a1c3e5f7"
    code, told = caopan(*ADD, "--key", pasted)
    assert code == 2
    assert pasted not in json.dumps(told)
    assert pasted not in capsys.readouterr().err


def test_an_endpoint_is_removed_and_a_document_put_back(caopan, tmp_path):
    caopan(*ADD, *KEY)
    document = caopan("models", "export")[1]
    saved = tmp_path / "saved.json"
    assert caopan("models", "export", str(saved))[0] == 0
    assert json.loads(saved.read_text()) == document
    assert caopan("models", "export", str(saved))[1]["error"]["code"] == "FILE_UNWRITABLE"
    assert caopan("models", "rm", "actor-deepseek")[0] == 0
    assert "actor-deepseek" not in listed(caopan)
    assert caopan("models", "rm", "actor-deepseek")[1]["error"]["code"] == "ENDPOINT_UNKNOWN"
    file = tmp_path / "models.json"
    file.write_text(json.dumps(document))
    assert caopan("models", "apply", str(file))[0] == 0
    assert "actor-deepseek" in listed(caopan)
    file.write_text("{")
    assert caopan("models", "apply", str(file))[1]["error"]["code"] == "MODELS_INVALID"


def test_a_wrong_preset_is_told_with_the_one_that_was_meant(caopan):
    _, told = caopan("models", "add", "deepsek", "--model", "m", "--alias", "a")
    assert told["error"]["code"] == "PRESET_UNKNOWN"
    assert "deepseek" in told["error"]["remedy"]


def test_presets_and_schema_need_no_database(caopan, home):
    names = {row["preset"] for row in caopan("models", "presets")[1]["presets"]}
    settings = load_settings({"home": home}, environ={})
    assert names == known_profiles(settings).keys()
    assert {"deepseek", "dashscope", "zhipu", "moonshot", "volcengine", "ollama"} <= names
    assert "endpoints" in caopan("models", "export", "--schema")[1]["properties"]


def test_a_key_is_sealed_from_standard_input(caopan, home, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-sealed-canary-123456\n"))
    code, told = caopan("models", "seal", "deepseek")
    assert (code, told["reference"]) == (0, "sealed:deepseek")
    caopan(*ADD, "--key", "sealed:deepseek")
    for file in home.rglob("*"):
        assert not file.is_file() or b"sk-sealed-canary" not in file.read_bytes()


def test_an_alias_is_tested_step_by_step(caopan):
    vendor = DeepSeek()
    with vendor.in_thread() as url:
        caopan(*ADD, *KEY, "--url", url, "--private")
        code, told = caopan("models", "test", "actor")
    assert code == 0, told
    (one,) = told["endpoints"]
    steps = {step["step"]: step for step in one["steps"]}
    assert list(steps) == ["dns", "tcp", "auth", "model", "json", "stream", "usage", "cost"]
    assert all(step["ok"] for step in steps.values())
    assert "json_schema->json_object" in steps["json"]["detail"]
    assert one["cost_cny"] != "0"
    assert {call.headers["authorization"] for call in vendor.calls} == {f"Bearer {vendor.key}"}
    recorded = caopan("models", "metrics")[1]["endpoints"]
    assert [(row["endpoint"], row["outcomes"]) for row in recorded] == [
        ("actor-deepseek", {"ok": 3})
    ]


@pytest.mark.parametrize(
    ("fields", "step", "code"),
    [
        ({"model": "no-such"}, "model", "MODEL_BAD_REQUEST"),
        ({"auth_secret_ref": "env:EMPTY"}, "key", "SECRET_MISSING"),
        ({"auth_secret_ref": "env:WRONG"}, "auth", "MODEL_AUTH"),
        ({"endpoint_url": "http://127.0.0.1:{closed}/v1"}, "tcp", "TCP_FAILED"),
        ({"endpoint_url": "https://no-such-name.invalid/v1"}, "dns", "DNS_FAILED"),
    ],
)
def test_what_fails_is_told_with_advice(caopan, monkeypatch, fields, step, code):
    monkeypatch.setenv("WRONG", "sk-wrong-0123456789")
    with DeepSeek().in_thread() as url:
        caopan(*ADD, *KEY, "--url", url, "--private")
        for field, value in fields.items():
            told = value.replace("{closed}", str(closed_port()))
            assert caopan("models", "set", "actor-deepseek", field, told)[0] == 0
        exit_code, told = caopan("models", "test", "actor")
    assert exit_code == 1
    last = told["endpoints"][0]["steps"][-1]
    assert (last["step"], last["code"], last["ok"]) == (step, code, False)
    assert last["advice"]
    assert "sk-wrong" not in json.dumps(told)


def test_testing_makes_no_first_key_that_nobody_sees(caopan):
    with DeepSeek().in_thread() as url:
        caopan(*ADD, *KEY, "--url", url, "--private")
        caopan("models", "test", "actor")
    assert caopan("gateway", "key", "ls")[1]["keys"] == []


def test_an_unknown_alias_is_told_with_the_known_ones(caopan):
    code, told = caopan("models", "test", "nobody")
    assert (code, told["error"]["code"]) == (2, "ALIAS_UNKNOWN")


def test_a_key_is_made_listed_and_revoked(caopan):
    day = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%d")
    words = ("--alias", "actor", "--daily-cny", "12.5", "--rpm", "60", "--expires", day)
    code, made = caopan("gateway", "key", "add", "notebook", *words)
    assert code == 0
    assert made["key"].startswith("cpg-")
    assert (made["aliases"], made["daily_cny"], made["rpm"]) == (["actor"], "12.5", 60)
    code, told = caopan("gateway", "key", "add", "notebook")
    assert (code, told["error"]["code"]) == (1, "CLIENT_EXISTS")
    assert caopan("gateway", "key", "revoke", "notebook")[1]["revoked_at"]
    (row,) = caopan("gateway", "key", "ls")[1]["keys"]
    assert row["revoked_at"]
    assert "key" not in row
    assert caopan("gateway", "key", "revoke", "nobody")[1]["error"]["code"] == "CLIENT_UNKNOWN"


def test_a_running_gateway_follows_and_is_shown(caopan, home, clean_database, redis_url):
    with (
        DeepSeek().in_thread() as url,
        running_gateway(
            home,
            database_url=clean_database,
            redis_url=redis_url,
            environ={"DEEPSEEK_API_KEY": DeepSeek().key},
        ) as gateway,
    ):
        caopan(*ADD, *KEY, "--url", url, "--private")
        _, made = caopan("gateway", "key", "add", "notebook")
        began = time.monotonic()
        while gateway.chat("actor", key=made["key"])[0] != 200:
            assert time.monotonic() - began < 5
            time.sleep(0.1)
        (live,) = caopan("models", "metrics")[1]["gateways"]
        states = {one["endpoint"]: one["state"] for one in live["endpoints"]}
        assert states["actor-deepseek"] == "closed"
        caopan("gateway", "key", "revoke", "notebook")
        while gateway.chat("actor", key=made["key"])[0] != 401:
            assert time.monotonic() - began < 15
            time.sleep(0.1)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_person_reads_it_in_both_languages(caopan, capsys, lang):
    caopan(*ADD, *KEY)
    caopan("gateway", "key", "add", "notebook")
    capsys.readouterr()
    for words in (
        ("models", "ls"),
        ("models", "presets"),
        ("models", "metrics"),
        ("gateway", "key", "ls"),
        ("models", "test", "builtin/momentum"),
    ):
        assert main([*words, "--lang", lang]) == 0
    out = capsys.readouterr().out
    assert catalogue(lang)["models.column.alias"] in out
    assert catalogue(lang)["gateway.column.state"] in out
