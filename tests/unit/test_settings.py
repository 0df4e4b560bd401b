"""The environment is read once, strictly, and nothing secret is ever shown."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest

from caopan.kernel.errors import ConfigInvalid
from caopan.settings import (
    VARIABLES,
    Secret,
    environment_debug,
    environment_language,
    load_settings,
    redact_url,
    resolve_secret,
)

SECRET = "h0rse-battery"
URL = f"postgresql://ann:{SECRET}@db.example:5432/caopan"


def refusal(environ: dict[str, str]) -> ConfigInvalid:
    with pytest.raises(ConfigInvalid) as caught:
        load_settings(environ=environ)
    assert caught.value.remedy
    return caught.value


def test_defaults_need_no_environment():
    settings = load_settings(environ={})
    assert settings.home == Path.cwd() / ".caopan"
    assert settings.lang == "en"
    assert settings.database_url is None
    assert settings.redis_url is None
    assert not settings.debug


def test_every_known_variable_fills_its_field():
    environ = {
        "CAOPAN_HOME": "/srv/caopan home",
        "CAOPAN_LANG": "zh",
        "CAOPAN_DEBUG": "1",
        "CAOPAN_REAL_DATA": "/srv/data",
        "CAOPAN_MODEL_BASE_URL": "https://models.example/v1/",
        "CAOPAN_MODEL": "some-model",
        "CAOPAN_MODEL_KEY": "env:MODEL_KEY",
        "DATABASE_URL": URL,
        "REDIS_URL": "redis://:pw@cache.example:6379/0",
    }
    assert set(environ) == set(VARIABLES)
    settings = load_settings(environ=environ)
    assert settings.home == Path("/srv/caopan home")
    assert settings.lang == "zh"
    assert settings.debug
    assert settings.real_data == Path("/srv/data")
    assert settings.model_base_url == "https://models.example/v1"
    assert settings.model == "some-model"
    assert settings.model_key == "env:MODEL_KEY"
    assert settings.database_url == Secret(URL)
    assert settings.redis_url == Secret("redis://:pw@cache.example:6379/0")


def test_overrides_win_and_none_does_not_count():
    environ = {"CAOPAN_HOME": "/srv/one", "CAOPAN_LANG": "zh"}
    settings = load_settings({"home": "/srv/two", "lang": None}, environ)
    assert (settings.home, settings.lang) == (Path("/srv/two"), "zh")
    with pytest.raises(ConfigInvalid, match="hmoe"):
        load_settings({"hmoe": "/srv/two"}, environ)


def test_relative_home_does_not_move_with_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ={"CAOPAN_HOME": "here"})
    monkeypatch.chdir("/")
    assert settings.home == tmp_path / "here"


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("CAOPAN_HOM", "CAOPAN_HOME"),
        ("CAOPAN_MODELKEY", "CAOPAN_MODEL_KEY"),
        ("CAOPAN_LANGUAGE", "CAOPAN_LANG"),
    ],
)
def test_misspelt_variable_is_named_with_the_one_meant(misspelt, meant):
    error = refusal({misspelt: "x"})
    assert error.code == "SETTING_UNKNOWN"
    assert misspelt in error.message
    assert meant in error.remedy


def test_variable_that_holds_the_key_may_have_any_name():
    environ = {"CAOPAN_MODEL_KEY": "env:CAOPAN_DEEPSEEK", "CAOPAN_DEEPSEEK": "sk-1"}
    assert load_settings(environ=environ).model_key == "env:CAOPAN_DEEPSEEK"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CAOPAN_LANG", "fr"),
        ("CAOPAN_DEBUG", "perhaps"),
        ("DATABASE_URL", "mysql://db.example/caopan"),
        ("DATABASE_URL", "db.example"),
        ("DATABASE_URL", "postgresql://db.example:port/caopan"),
        ("REDIS_URL", "http://cache.example"),
        ("CAOPAN_MODEL_BASE_URL", "models.example"),
        ("CAOPAN_MODEL_BASE_URL", "https://ann:pw@models.example/v1"),
        ("CAOPAN_MODEL_KEY", "sk-1234"),
        ("CAOPAN_MODEL_KEY", "env:"),
    ],
)
def test_invalid_value_names_the_variable(variable, value):
    error = refusal({variable: value})
    assert error.code == "SETTING_INVALID"
    assert variable in error.message
    assert variable in error.remedy


def test_no_secret_is_ever_shown():
    settings = load_settings(environ={"DATABASE_URL": URL})
    for shown in (repr(settings), str(settings.database_url), f"{settings.database_url}"):
        assert SECRET not in shown
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == URL
    for way in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            way(settings.database_url)
    for wrong in (
        {"DATABASE_URL": f"mysql://ann:{SECRET}@db.example"},
        {"DATABASE_URL": f"postgresql://ann:{SECRET}@db.example:port"},
        {"CAOPAN_MODEL_KEY": SECRET},
    ):
        assert SECRET not in str(refusal(wrong))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, "postgresql://ann:***@db.example:5432/caopan"),
        (f"redis://:{SECRET}@cache.example/0", "redis://:***@cache.example/0"),
        (f"redis://cache.example/0?password={SECRET}", "redis://cache.example/0"),
        ("postgresql://ann@db.example/caopan", "postgresql://ann@db.example/caopan"),
    ],
)
def test_redacted_url_keeps_the_place_only(url, shown):
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("environ", "lang"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_TW", "LANG": "en_GB"}, "zh"),
        ({"CAOPAN_LANG": "en", "LC_ALL": "zh_CN"}, "en"),
        ({"CAOPAN_LANG": "zh", "LC_ALL": "en_GB"}, "zh"),
    ],
)
def test_language_of_the_environment(environ, lang):
    assert environment_language(environ) == lang
    assert load_settings(environ=environ).lang == lang


def test_debug_is_known_even_where_settings_are_invalid():
    assert environment_debug({"CAOPAN_DEBUG": "yes", "CAOPAN_LANG": "fr"})
    assert not environment_debug({})


def test_secret_from_the_environment_or_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("SOME_MODEL_KEY", SECRET)
    assert resolve_secret("env:SOME_MODEL_KEY").get_secret_value() == SECRET
    (tmp_path / "key").write_text(f"{SECRET}\n")
    assert resolve_secret(f"file:{tmp_path / 'key'}").get_secret_value() == SECRET


@pytest.mark.parametrize("reference", ["env:NO_SUCH_KEY", "file:/no/such/key", "file:/dev/null"])
def test_absent_or_empty_secret_is_named(reference):
    with pytest.raises(ConfigInvalid) as caught:
        resolve_secret(reference)
    assert caught.value.code == "SECRET_MISSING"
    assert reference.partition(":")[2] in caught.value.message


def test_a_file_that_has_no_end_or_is_too_long_for_a_secret_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(b"k" * 70_000)
    for place in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path / "long"), str(tmp_path)):
        with pytest.raises(ConfigInvalid, match="cannot be read") as caught:
            resolve_secret(f"file:{place}")
        assert caught.value.code == "SECRET_MISSING"
