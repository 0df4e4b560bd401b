"""The frame of the command line: languages, channels, errors, exit codes, a quick start."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
import typer

from caopan import __version__
from caopan.adapters.calendar.xshg import load_calendar
from caopan.adapters.market_data.synthetic import ORIGIN
from caopan.bootstrap import replaying
from caopan.bootstrap.replaying import SYNTHETIC_END
from caopan.interfaces.cli import app as frame
from caopan.interfaces.cli.__main__ import main
from caopan.interfaces.cli.demo import MOST_DAYS
from caopan.interfaces.cli.output import Cli, ExitCode, exit_code
from caopan.kernel import errors
from caopan.messages import LANGUAGES, catalogue

HEAVY = ("polars", "pandas", "sqlalchemy", "sqlmodel", "psycopg", "redis", "openai", "alembic")


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    for name in ("CAOPAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "CAOPAN_DEBUG", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path / "home"))


@pytest.fixture
def command(monkeypatch):
    """Put one command of ours in the table, under a name that has its texts."""

    def install(function) -> None:
        monkeypatch.setattr(frame, "COMMANDS", {"bench": "probe:probe"})
        monkeypatch.setattr(frame.importlib, "import_module", lambda _: _Module(function))

    class _Module:
        def __init__(self, function) -> None:
            self.probe = function

    monkeypatch.setitem(catalogue("en"), "cli.bench.examples", "Examples")
    monkeypatch.setitem(catalogue("zh"), "cli.bench.examples", "示例")
    return install


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = main(words)
    told = capsys.readouterr()
    return code, told.out, told.err


def failing(error: BaseException):
    def probe(ctx: typer.Context) -> None:
        raise error

    return probe


def test_help_lists_every_command_in_both_languages(capsys):
    for lang in LANGUAGES:
        code, out, _ = run(capsys, "--help", "--lang", lang)
        assert code == 0
        assert all(name in out for name in frame.COMMANDS)
        assert catalogue(lang)["cli.panel.commands"] in out


def test_no_words_at_all_shows_the_help(capsys):
    assert run(capsys)[:1] == (0,)


def test_language_of_the_environment_and_of_the_option(capsys, monkeypatch):
    chinese = catalogue("zh")["cli.panel.commands"]
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert chinese in run(capsys, "--help")[1]
    assert chinese not in run(capsys, "--lang=en", "--help")[1]
    code, _, err = run(capsys, "--lang", "fr", "--help")
    assert code == ExitCode.USAGE
    assert "fr" in err


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", list(frame.COMMANDS))
def test_every_command_loads_with_all_its_texts(name, lang, capsys):
    module = frame.COMMANDS[name].partition(":")[0]
    assert find_spec(module), f"{name} names a module that does not exist"
    for words in paths(frame.load_command(name, lang), name):
        code, out, err = run(capsys, *words, "--help", "--lang", lang)
        assert code == 0, err
        assert "--json" in out or "COMMAND" in out


def paths(command, *words: str) -> list[tuple[str, ...]]:
    """Return a command's words and those of every command below it."""
    below = getattr(command, "commands", {}).items()
    return [words, *(path for name, child in below for path in paths(child, *words, name))]


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"{__version__}\n", "")


def test_misspelt_command_and_option(capsys):
    code, out, err = run(capsys, "doctr")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "doctor" in err
    code, out, _ = run(capsys, "doctor", "--onlin", "--json")
    assert code == ExitCode.USAGE
    assert json.loads(out)["error"]["code"] == "USAGE"


def test_result_goes_to_stdout_and_notes_to_stderr(capsys, command):
    def probe(ctx: typer.Context) -> None:
        cli = Cli.of(ctx)
        cli.note("cli.confirm.nothing_done")
        with cli.progress() as progress:
            progress.add_task("working", total=1)
        cli.result({"number": 1, "text": "操盘"}, lambda console: console.print("shown"))

    command(probe)
    code, out, err = run(capsys, "bench", "--json")
    assert (code, json.loads(out)) == (0, {"number": 1, "text": "操盘"})
    assert catalogue("en")["cli.confirm.nothing_done"] in err
    assert run(capsys, "bench")[1] == "shown\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Denied("RISK_LIMIT", "too much"), 4),
        (errors.Denied("PERMISSION_DENIED", "not yours"), 3),
        (errors.Denied("DB_FORBIDDEN", "not yours"), 3),
        (errors.Unavailable("DB_UNREACHABLE", "not there"), 5),
        (errors.ConfigInvalid("SETTING_INVALID", "wrong"), 2),
        (errors.Conflict("DB_IN_USE", "busy"), 1),
        (errors.CorruptState("LEDGER_BROKEN", "broken"), 1),
        (errors.OutcomeUnknown("ORDER_UNKNOWN", "perhaps"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error, code, capsys, command):
    assert exit_code(error) == code
    command(failing(error))
    found, out, err = run(capsys, "bench", "--json")
    assert found == code
    assert json.loads(out)["error"] == {
        "code": error.code,
        "message": error.message,
        "remedy": error.remedy,
    }
    assert f"[{error.code}]" in err
    assert "Traceback" not in err


def test_error_is_titled_in_the_language(capsys, command):
    command(failing(errors.Unavailable("DB_UNREACHABLE", "host", remedy="start it")))
    _, out, err = run(capsys, "bench", "--lang", "zh")
    assert out == ""
    assert err.splitlines()[0] == "无法连接数据库 [DB_UNREACHABLE]"
    assert "处理办法" in err
    assert "start it" in err


def test_what_a_terminal_would_obey_is_spelled_out(capsys, command):
    """A model's or a file's words could clear the screen, forge a line or turn a number round."""

    def fail(ctx: typer.Context) -> None:
        Cli.of(ctx).note("run.started", data="\x1b[2J\u202e[bold]日线\n.csv", days=3)
        raise errors.ConfigInvalid("DATA_FILE", "a\x1b]0;title\x07b\r\nforged", remedy="\x9bK")

    command(fail)
    main(["bench"])
    told = capsys.readouterr().err

    assert "\\x1b[2J\\u202e[bold]日线\\n.csv" in told
    assert "a\\x1b]0;title\\x07b\n  forged" in told
    assert not [letter for letter in told if letter != "\n" and not letter.isprintable()]


def test_demo_offers_no_more_days_than_its_market_has():
    sessions = load_calendar().between(ORIGIN, SYNTHETIC_END)
    assert 1 <= MOST_DAYS <= len(sessions) - replaying._WARM_UP


def test_json_tells_that_nothing_was_confirmed(capsys, command):
    def ask(ctx: typer.Context) -> None:
        assert not Cli.of(ctx).confirm("reset.confirm", "reset", home="here")
        raise typer.Exit(ExitCode.FAILED)

    command(ask)
    assert main(["bench", "--json"]) == ExitCode.FAILED
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "NOT_CONFIRMED"


def test_json_tells_of_a_language_that_is_none(capsys):
    assert main(["doctor", "--lang", "fr", "--json"]) == ExitCode.USAGE
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "SETTING_INVALID"


def test_fault_of_ours_is_a_sentence_and_a_report(capsys, command, tmp_path):
    command(failing(ZeroDivisionError("by chance")))
    code, _, err = run(capsys, "bench")
    assert code == ExitCode.FAILED
    assert "Traceback" not in err
    (report,) = (tmp_path / "home" / "logs").glob("crash-*.txt")
    assert "ZeroDivisionError: by chance" in report.read_text()
    assert str(report) in err.replace("\n", "")


def test_debug_shows_the_traceback(capsys, command, monkeypatch):
    monkeypatch.setenv("CAOPAN_DEBUG", "1")
    command(failing(ZeroDivisionError("by chance")))
    assert "Traceback" in run(capsys, "bench")[2]


def test_interruption_is_quiet(capsys, command):
    command(failing(KeyboardInterrupt()))
    assert run(capsys, "bench") == (ExitCode.INTERRUPTED, "", "")


def test_exit_code_a_command_chooses(capsys, command):
    command(failing(typer.Exit(1)))
    assert run(capsys, "bench")[0] == 1


def test_text_missing_from_the_catalogue_is_a_fault(capsys, command):
    def probe(ctx: typer.Context, unheard: bool = False) -> None: ...

    command(probe)
    code, _, err = run(capsys, "bench", "--help")
    assert code == ExitCode.FAILED
    assert "cli.bench.unheard" in err


def test_start_imports_nothing_heavy():
    ask = "import sys; import caopan.interfaces.cli.__main__ as m; m.main(['--version']); "
    ask += f"print([name for name in {HEAVY!r} if name in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True
    ).stdout
    assert told.splitlines()[-1] == "[]"
