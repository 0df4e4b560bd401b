"""The commands around the state: what they say, ask and return."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from caopan.interfaces.cli.__main__ import main


@pytest.fixture(autouse=True)
def _environment(monkeypatch, home):
    for name in ("DATABASE_URL", "REDIS_URL", "CAOPAN_MODEL_BASE_URL", "CAOPAN_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAOPAN_HOME", str(home))


@pytest.fixture
def model_endpoint():
    """An OpenAI-compatible endpoint that knows one model."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            models = [{"id": "known-model", "object": "model", "created": 0, "owned_by": "us"}]
            body = json.dumps({"object": "list", "data": models}).encode()
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - its name

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = main(words)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_backup_restore_reset_as_a_person_does(capsys, home):
    code, out, _ = run(capsys, "backup", "--json")
    assert code == 0
    file = json.loads(out)["file"]
    code, out, _ = run(capsys, "restore", file, "--yes", "--json")
    assert code == 0
    assert json.loads(out) == {"restored": file, "saved": None}
    # Without a terminal and without --yes nothing happens, in either language.
    for words in (["reset"], ["restore", file]):
        code, out, err = run(capsys, *words, "--lang", "zh")
        assert code == 1
        assert out == ""
        assert "未做任何操作" in err
    assert (home / "data").exists()
    code, out, _ = run(capsys, "reset", "--yes", "--json")
    assert (code, json.loads(out)["erased"]) == (0, True)
    assert not (home / "data").exists()
    assert (home / "backups").exists()


def test_reset_refuses_an_external_database(capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody:secret@db.example/caopan")
    code, out, err = run(capsys, "reset", "--yes", "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "RESET_EXTERNAL"
    assert "secret" not in out + err


def test_wrong_external_server_is_one_message_and_a_code(capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody:secret@127.0.0.1:1/caopan")
    code, out, err = run(capsys, "backup", "--lang", "zh")
    assert code == 5
    assert out == ""
    assert "无法连接数据库 [DB_UNREACHABLE]" in err
    assert "somebody:***@127.0.0.1:1" in err
    assert "Traceback" not in err


def test_doctor_looks_at_everything(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    report = json.loads(out)
    assert {line["check"] for line in report["checks"]} == {
        "python",
        "platform",
        "packages",
        "binaries",
        "home",
        "database",
        "redis",
        "schema",
        "calendar",
        "real data",
        "model",
    }
    failed = [line for line in report["checks"] if line["level"] == "fail"]
    assert all(line["remedy"] for line in failed)
    assert (code == 0) == report["ok"] == (not failed)


def test_doctor_fails_on_what_is_wrong_and_goes_on(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody:secret@127.0.0.1:1/caopan")
    monkeypatch.setenv("CAOPAN_REAL_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("CAOPAN_MODEL_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("CAOPAN_MODEL", "some-model")
    monkeypatch.setenv("CAOPAN_MODEL_KEY", "env:CAOPAN_TEST_KEY_UNSET")
    code, out, _ = run(capsys, "doctor", "--json")
    found = {line["check"]: line for line in json.loads(out)["checks"]}
    assert code == 1
    assert "DB_UNREACHABLE" in found["services"]["detail"]
    assert found["real data"]["level"] == "fail"
    assert "SECRET_MISSING" in found["model"]["detail"]
    assert "secret" not in out


def test_doctor_asks_the_model_endpoint_only_when_told(capsys, monkeypatch):
    monkeypatch.setenv("CAOPAN_MODEL_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("CAOPAN_MODEL", "some-model")
    _, out, _ = run(capsys, "doctor", "--json")
    levels = [line["level"] for line in json.loads(out)["checks"] if line["check"] == "model"]
    assert levels == ["ok"]
    code, out, _ = run(capsys, "doctor", "--online", "--json")
    levels = [line["level"] for line in json.loads(out)["checks"] if line["check"] == "model"]
    assert levels == ["ok", "fail"]
    assert code == 1


def test_doctor_says_whether_the_endpoint_knows_the_model(capsys, monkeypatch, model_endpoint):
    monkeypatch.setenv("CAOPAN_MODEL_BASE_URL", model_endpoint)
    for name, level in (("known-model", "ok"), ("other-model", "warn")):
        monkeypatch.setenv("CAOPAN_MODEL", name)
        _, out, _ = run(capsys, "doctor", "--online", "--json")
        lines = [line for line in json.loads(out)["checks"] if line["check"] == "model"]
        assert [line["level"] for line in lines] == ["ok", level]


def test_doctor_for_a_person(capsys):
    code, out, _ = run(capsys, "doctor", "--lang", "zh")
    assert code in {0, 1}
    assert "PostgreSQL 18" in out
    assert "正常" in out
