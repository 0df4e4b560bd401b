"""What is sealed opens again, for its owner alone, and never in the place of another."""

from __future__ import annotations

import json
import os
import stat
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caopan.adapters.secrets.sealed import SealedSecrets
from caopan.kernel.errors import CaopanError, ConfigInvalid, Unavailable
from caopan.settings import Secret

AT = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
KEY = Secret("sk-canary-77")
VALUES = st.text(st.characters(codec="utf-8"), min_size=1)
BROKEN = [
    b"",
    b"{",
    b"[]",
    b"\xff",
    b'{"version": 2, "secrets": {}}',
    b'{"version": 1, "secrets": {"a": 1}}',
]


@pytest.fixture
def sealed(tmp_path):
    return SealedSecrets(tmp_path / "home")


def code_of(act) -> str:
    with pytest.raises(CaopanError) as caught:
        act()
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert KEY.get_secret_value() not in told
    return caught.value.code


@given(VALUES, st.from_regex(r"[a-z0-9][a-z0-9._-]{0,9}", fullmatch=True))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
def test_what_is_sealed_opens_again(tmp_path, value, name):
    SealedSecrets(tmp_path).seal(name, Secret(value), AT)
    assert SealedSecrets(tmp_path).open(name) == Secret(value)


def test_nothing_on_the_disk_shows_a_value_or_belongs_to_others(sealed):
    os.umask(0o000)
    try:
        sealed.seal("deepseek", KEY, AT)
    finally:
        os.umask(0o022)
    files = list(sealed.path.parent.iterdir())
    assert {file.name for file in files} == {"master.key", "sealed.json", "sealed.lock"}
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert KEY.get_secret_value().encode() not in file.read_bytes()
    assert stat.S_IMODE(sealed.path.parent.stat().st_mode) == 0o700


def test_the_list_tells_names_and_times_without_the_master_key(sealed):
    assert sealed.entries() == []
    sealed.seal("b", KEY, AT)
    sealed.seal("a", KEY, AT)
    sealed.key_path.unlink()
    told = sealed.entries()
    assert [(one.secret_id, one.sealed_at) for one in told] == [
        ("a", "2026-11-22T03:04:05.000Z"),
        ("b", "2026-11-22T03:04:05.000Z"),
    ]


def test_sealing_again_replaces_and_removing_forgets(sealed):
    sealed.seal("a", Secret("old"), AT)
    sealed.seal("a", KEY, AT)
    assert sealed.open("a") == KEY
    sealed.remove("a")
    assert code_of(lambda: sealed.open("a")) == "SECRET_MISSING"
    assert code_of(lambda: sealed.remove("a")) == "SECRET_MISSING"


def test_the_same_value_never_looks_the_same(sealed):
    sealed.seal("a", KEY, AT)
    first = sealed.path.read_bytes()
    sealed.seal("a", KEY, AT)
    assert sealed.path.read_bytes() != first


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_master_key_that_others_may_read_opens_nothing(sealed, mode):
    sealed.seal("a", KEY, AT)
    sealed.key_path.chmod(mode)
    assert code_of(lambda: sealed.open("a")) == "SECRET_EXPOSED"
    assert code_of(lambda: sealed.seal("b", KEY, AT)) == "SECRET_EXPOSED"
    sealed.key_path.chmod(0o600)
    assert sealed.open("a") == KEY


def test_a_ciphertext_moved_to_another_row_does_not_open(sealed):
    sealed.seal("cheap", Secret("sk-cheap"), AT)
    sealed.seal("dear", KEY, AT)
    told = json.loads(sealed.path.read_text())
    told["secrets"]["cheap"] = told["secrets"]["dear"]
    sealed.path.write_text(json.dumps(told))
    assert code_of(lambda: sealed.open("cheap")) == "SECRET_DAMAGED"
    assert sealed.open("dear") == KEY


@pytest.mark.parametrize("field", ["sealed_at", "nonce", "ciphertext"])
@pytest.mark.parametrize(
    "value", ["", "AAAA", "not base64!", None, 5, "2026-01-01T00:00:00.000000Z"]
)
def test_an_altered_row_does_not_open(sealed, field, value):
    sealed.seal("a", KEY, AT)
    told = json.loads(sealed.path.read_text())
    told["secrets"]["a"][field] = value
    sealed.path.write_text(json.dumps(told))
    assert code_of(lambda: sealed.open("a")) == "SECRET_DAMAGED"


@pytest.mark.parametrize("body", BROKEN)
def test_a_broken_file_is_refused_and_left_as_it_is(sealed, body):
    sealed.seal("a", KEY, AT)
    sealed.path.write_bytes(body)
    for act in (lambda: sealed.open("a"), sealed.entries, lambda: sealed.seal("b", KEY, AT)):
        assert code_of(act) == "SECRET_DAMAGED"
    assert sealed.path.read_bytes() == body


@pytest.mark.parametrize("body", [b"", b"abc", b"zz" * 32, b"00" * 31, b"\xff" * 64])
def test_a_broken_master_key_is_refused_and_never_replaced(sealed, body):
    sealed.seal("a", KEY, AT)
    sealed.key_path.write_bytes(body)
    assert code_of(lambda: sealed.open("a")) == "SECRET_DAMAGED"
    assert code_of(lambda: sealed.seal("b", KEY, AT)) == "SECRET_DAMAGED"
    assert sealed.key_path.read_bytes() == body


def test_a_lost_master_key_is_not_made_anew_over_what_it_sealed(sealed):
    sealed.seal("a", KEY, AT)
    sealed.key_path.unlink()
    assert code_of(lambda: sealed.open("a")) == "SECRET_DAMAGED"
    assert code_of(lambda: sealed.seal("b", KEY, AT)) == "SECRET_DAMAGED"
    sealed.remove("a")
    sealed.seal("b", KEY, AT)
    assert sealed.open("b") == KEY


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a b", "-a", "a" * 65, "sk-canary-77\n"])
def test_an_id_is_a_plain_name(sealed, name):
    acts = sealed.open, sealed.remove, lambda name: sealed.seal(name, KEY, AT)
    for act in (partial(act, name) for act in acts):
        assert code_of(act) == "SECRET_REFERENCE"


@pytest.mark.parametrize("value", ["", "\ud800", "x" * 65_537])
def test_a_value_has_a_size(sealed, value):
    with pytest.raises(ConfigInvalid) as caught:
        sealed.seal("a", Secret(value), AT)
    assert caught.value.code == "SECRET_UNUSABLE"
    assert not sealed.path.exists()


def test_many_at_once_lose_nothing(tmp_path):
    def seal(number: int) -> None:
        SealedSecrets(tmp_path).seal(f"s{number}", Secret(f"v{number}"), AT)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(seal, range(24)))
    sealed = SealedSecrets(tmp_path)
    assert len(sealed.entries()) == 24
    assert all(sealed.open(f"s{n}") == Secret(f"v{n}") for n in range(24))


def test_a_home_that_cannot_be_used_is_said_so(tmp_path):
    (tmp_path / "home").write_text("a file")
    sealed = SealedSecrets(tmp_path / "home")
    with pytest.raises(Unavailable) as caught:
        sealed.seal("a", KEY, AT)
    assert caught.value.code == "SECRET_STORE"
