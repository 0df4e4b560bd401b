"""The documents are true where a machine can tell: links, commands, both languages alike."""

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.main import get_command

from caopan.interfaces.cli.app import build_app

ROOT = Path(__file__).parents[2]
README, README_ZH = ROOT / "README.md", ROOT / "README.zh-CN.md"
FOLDERS = ("docs", "changes", "src")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md"))]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^(?:\.venv/bin/)?caopan(?: |$)")
# Hosts of package registries and mirrors, and paths of one machine; written so as not to be one.
FORBIDDEN = re.compile(
    r"py[p]i\.org|pythonhoste[d]|registry\.npm|npmjs\.or[g]|/simpl[e]\b|tuna\.tsinghu[a]|mirror[s]?\."
    r"|/hom[e]/|/roo[t]\b|/User[s]/|/wor[k]/|/tm[p]/|sk-[A-Za-z0-9]{8,}"
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def shell_lines(path: Path) -> list[str]:
    """Return the lines of a document's shell blocks, comments and blanks left out."""
    blocks = [body for kind, body in FENCE.findall(path.read_text("utf-8")) if kind == "sh"]
    lines = [line.split("  #")[0].strip() for body in blocks for line in body.splitlines()]
    return [line for line in lines if line]


def inline_commands(path: Path) -> list[str]:
    text = FENCE.sub("", path.read_text("utf-8"))
    return [span for span in INLINE.findall(text) if COMMAND.match(span)]


def headings(path: Path) -> list[int]:
    text = FENCE.sub("", path.read_text("utf-8"))
    return [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]


def parse(words: list[str]) -> int | None:
    """Let the command line parse `words`, running nothing; return the exit code it ends with.

    None means that the command would run.
    """
    command: Any = get_command(build_app("en"))
    context, called = None, "caopan"
    try:
        while True:
            context = command.make_context(called, list(words), parent=context)
            words = [*getattr(context, "_protected_args", ()), *context.args]
            if not (words and hasattr(command, "resolve_command")):
                return None
            called, command, words = command.resolve_command(context, words)
    except Exception as error:
        # Typer keeps the classes of its refusals private; they all carry an exit code.
        end: Any = error
        if not hasattr(end, "exit_code"):
            raise
        return int(end.exit_code)


SHOWN = sorted({line for path in DOCUMENTS for line in shell_lines(path) if COMMAND.match(line)})
NAMED = sorted({span for path in DOCUMENTS for span in inline_commands(path)})


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_relative_link_resolves(path):
    text = FENCE.sub("", path.read_text("utf-8"))
    for target in LINK.findall(text):
        place, _, anchor = target.partition("#")
        if "://" in place:
            continue
        assert not anchor, f"{target}: anchors are not checked, so they are not used"
        assert (path.parent / unquote(place)).exists(), f"{target} leads nowhere"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_no_document_names_a_registry_a_machine_or_a_key(path):
    found = FORBIDDEN.search(path.read_text("utf-8"))
    assert found is None, f"{found}"


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_shown_is_accepted_by_the_command_line(line):
    assert parse(shlex.split(line)[1:]) is None


@pytest.mark.parametrize("span", NAMED)
def test_a_command_named_in_a_sentence_exists(span):
    # In a sentence arguments may be left out, so only the names are looked up.
    words = [word for word in shlex.split(span)[1:3] if re.fullmatch(r"[a-z]+", word)]
    assert parse([*words, "--help"]) == 0


@pytest.mark.parametrize("line", ["demon", "demo --twice", "ledger show", "ledger prove"])
def test_a_wrong_command_would_be_noticed(line):
    assert parse(shlex.split(line)) == 2


def test_both_readmes_have_the_same_shape():
    assert headings(README) == headings(README_ZH)


def test_both_readmes_show_the_same_commands():
    assert shell_lines(README) == shell_lines(README_ZH)
    assert {span for span in inline_commands(README) if span != "caopan"} == {
        span for span in inline_commands(README_ZH) if span != "caopan"
    }


def test_every_make_target_shown_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in DOCUMENTS:
        for line in shell_lines(path):
            words = [word for word in shlex.split(line) if "=" not in word]
            if words[:1] == ["make"]:
                assert set(words[1:]) <= targets, f"{name(path)}: {line}"


def test_every_decision_record_is_listed_and_whole():
    index = (ROOT / "docs" / "adr" / "README.md").read_text("utf-8")
    sections = ("Status", "## Context", "## Decision", "## Consequences", "## Alternatives")
    for record in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        text = record.read_text("utf-8")
        assert f"({record.name})" in index
        assert text.startswith(f"# {record.name[:4] if record.name[:4] != '0000' else 'NNNN'}: ")
        missing = [part for part in (*sections, "## Enforced by") if part not in text]
        assert not missing, f"{record.name} lacks {missing}"
