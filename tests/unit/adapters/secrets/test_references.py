"""References lead to secrets; what is none is never repeated."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime

import pytest

from caopan.adapters.secrets.references import SecretReferences, check_reference
from caopan.adapters.secrets.sealed import SealedSecrets
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import Secret

KEY = "sk-canary-90"


def test_each_form_leads_to_its_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY", KEY)
    (tmp_path / "key").write_text(f"{KEY}\n")
    SealedSecrets(tmp_path).seal("mine", Secret(KEY), datetime(2026, 1, 1, tzinfo=UTC))
    references = SecretReferences(tmp_path)
    for reference in ("env:SOME_KEY", f"file:{tmp_path}/key", "sealed:mine"):
        assert references.resolve(reference) == Secret(KEY)


@pytest.mark.parametrize(
    "reference",
    [KEY, "", "env:", "env:A B", "file:", "sealed:", "sealed:a/b", f"key:{KEY}", "ENV:A"],
)
def test_what_is_no_reference_is_not_repeated(tmp_path, reference):
    for act in (check_reference, SecretReferences(tmp_path).resolve):
        with pytest.raises(ConfigInvalid) as caught:
            act(reference)
        assert caught.value.code == "SECRET_REFERENCE"
        assert KEY not in str(caught.value)


@pytest.mark.parametrize("reference", ["env:NOT_SET_AT_ALL", "file:/does/not/exist", "sealed:none"])
def test_what_leads_nowhere_is_missing(tmp_path, reference):
    with pytest.raises(ConfigInvalid) as caught:
        SecretReferences(tmp_path).resolve(reference)
    assert caught.value.code == "SECRET_MISSING"


def test_a_file_that_is_no_text_does_not_show_its_bytes(tmp_path):
    (tmp_path / "key").write_bytes(KEY.encode() + b"\xff")
    with pytest.raises(ConfigInvalid) as caught:
        SecretReferences(tmp_path).resolve(f"file:{tmp_path}/key")
    told = "".join(traceback.format_exception(caught.value))
    cause: BaseException | None = caught.value
    assert KEY not in told
    assert cause.__cause__ is None
