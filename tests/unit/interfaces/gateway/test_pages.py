"""The gateway's own pages: who sees them, and how a configuration is read and replaced."""

from __future__ import annotations

import copy

import pytest

from caopan.testing.gateway_doubles import answers

CONFIG = "/api/config/models"


async def test_models_are_those_a_key_may_ask_for(house):
    one = await house(answers())
    every = await one.ask("GET", "/v1/models")
    assert [model["id"] for model in every.json()["data"]] == ["actor", "own/er"]
    narrow = await one.mint("narrow", "own/er")
    assert [
        model["id"] for model in (await one.ask("GET", "/v1/models", key=narrow)).json()["data"]
    ] == ["own/er"]
    single = await one.ask("GET", "/v1/models/own/er", key=narrow)
    assert (single.json()["id"], single.json()["object"]) == ("own/er", "model")
    hidden = await one.ask("GET", "/v1/models/actor", key=narrow)
    assert (hidden.status, hidden.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_told_to_anybody(house, path):
    one = await house(answers())
    answer = await one.ask("GET", path, key=None)
    assert (answer.status, answer.json()["status"]) == (200, "ok")


async def test_without_its_database_the_gateway_is_degraded_and_ready(house):
    one = await house(answers())
    one.config.is_cut_off = True
    answer = await one.ask("GET", "/readyz", key=None)
    assert (answer.status, answer.json()["status"]) == (200, "degraded")
    down = [part for part in answer.json()["dependencies"] if part["status"] == "down"]
    assert [part["name"] for part in down] == ["database"]
    assert (await one.chat()).status == 200


async def test_metrics_need_a_key_where_others_could_come(house):
    one = await house(answers())
    await one.chat()
    assert (await one.ask("GET", "/metrics", key=None)).status == 401
    answer = await one.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert b'caopan_gateway_calls_total{alias="actor"' in answer.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", CONFIG),
        ("PUT", CONFIG),
        ("GET", f"{CONFIG}/versions"),
        ("GET", f"{CONFIG}/metrics"),
        ("GET", f"{CONFIG}/schema"),
    ],
)
async def test_the_configuration_is_an_administrators(house, method, path):
    one = await house(answers())
    assert (await one.ask(method, path, {"endpoints": []}, key=None)).status == 401
    answer = await one.ask(method, path, {"endpoints": []})
    assert (answer.status, answer.error["code"]) == (403, "not_admin")
    assert len(await one.config.history(9)) == 1


async def test_a_version_is_read_replaced_and_in_force_at_once(house):
    one = await house(answers())
    read = await one.ask("GET", CONFIG, key=one.admin)
    assert read.headers["etag"] == '"1"'
    body = copy.deepcopy(read.json())
    body["endpoints"][0]["model"] = "changed"
    headers = {"if-match": read.headers["etag"], "x-caopan-note": "try it"}
    put = await one.ask("PUT", CONFIG, body, key=one.admin, headers=headers)
    assert (put.status, put.headers["etag"]) == (200, '"2"')
    assert (put.json()["author"], put.json()["note"]) == ("root", "try it")
    assert one.service.models.snapshot().endpoints["first"].model == "changed"
    versions = (await one.ask("GET", f"{CONFIG}/versions", key=one.admin)).json()["versions"]
    assert [version["version"] for version in versions] == [2, 1]


@pytest.mark.parametrize(
    ("match", "status", "code"),
    [
        (None, 428, "if_match_required"),
        ('"x"', 400, "invalid_value"),
        ("*", 400, "invalid_value"),
        ('"0"', 412, "CONFIG_VERSION"),
        ('"7"', 412, "CONFIG_VERSION"),
    ],
)
async def test_a_version_replaces_the_one_it_was_made_from_or_none(house, match, status, code):
    one = await house(answers())
    body = (await one.ask("GET", CONFIG, key=one.admin)).json()
    headers = {} if match is None else {"if-match": match}
    answer = await one.ask("PUT", CONFIG, body, key=one.admin, headers=headers)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert len(await one.config.history(9)) == 1


async def test_an_invalid_version_is_refused_whole_with_its_field(house):
    one = await house(answers())
    body = (await one.ask("GET", CONFIG, key=one.admin)).json()
    body["endpoints"][1]["routing"] = {"weight": 3}
    answer = await one.ask("PUT", CONFIG, body, key=one.admin, headers={"if-match": '"1"'})
    assert (answer.status, answer.error["code"]) == (400, "MODELS_INVALID")
    assert answer.error["param"] == "endpoints[1].routing.weight"
    assert one.service.models.snapshot().version == 1
    assert len(await one.config.history(9)) == 1


async def test_state_and_counts_of_each_endpoint_are_shown_without_a_key(house):
    one = await house(answers())
    await one.chat()
    answer = await one.ask("GET", f"{CONFIG}/metrics", key=one.admin)
    first = answer.json()["endpoints"][0]
    assert (first["endpoint"], first["state"], first["attempts"]) == ("first", "closed", {"ok": 1})
    assert b"canary" not in answer.body


async def test_the_schema_is_told(house):
    one = await house(answers())
    answer = await one.ask("GET", f"{CONFIG}/schema", key=one.admin)
    assert "endpoints" in answer.json()["properties"]
