"""The broker process speaks the catalogue's languages and refuses as everything else does."""

from __future__ import annotations

import pytest

from caopan.interfaces.broker_process.__main__ import main
from caopan.messages import LANGUAGES, catalogue


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("words", [("--lang", "{}"), ("--lang={}",), ()])
def test_help_is_in_the_language_asked_for(lang, words, capsys, monkeypatch):
    monkeypatch.setenv("CAOPAN_LANG", lang if not words else "en")
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as caught:
        main([*(word.format(lang) for word in words), "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    texts = catalogue(lang)
    assert told.startswith(texts["broker_process.usage"])
    options = [name for name in texts if name.startswith("broker_process.")]
    for name in options:
        text = texts[name].format()
        assert all(line in told for line in text.splitlines()), name
    for lines in ("show this help", "options:") if lang == "zh" else ():
        assert lines not in told


@pytest.mark.parametrize("lang", LANGUAGES)
def test_wrong_words_are_refused_in_the_language_asked_for(lang, capsys):
    assert main(["--run", "x", "--lang", lang]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert catalogue(lang)["error.USAGE"] in told.err
    assert "--run" in told.err
