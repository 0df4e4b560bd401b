"""Make `.venv` ready: the pinned requirements and the project itself. Standard library only.

Owns when something has to be installed (a stamp says not) and how a broken or half-made
environment is repaired (it is made anew). Must never name a package index: pip reads the user's
own configuration and mirrors.

    python tools/setup.py run     what it takes to run Caopan
    python tools/setup.py dev     that, and what tests and gates need
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
COMMAND = VENV / "bin" / "caopan"
STAMP = VENV / "caopan-setup.json"
UNFINISHED = VENV / "caopan-setup-unfinished"
LOG = VENV / "caopan-setup.log"
REQUIREMENTS = {"run": "requirements.txt", "dev": "requirements-dev.txt"}
OLDEST, NEWEST = (3, 11), (3, 14)
_TAIL_LINES = 25


def main() -> int:
    """Bring the environment up to what is asked for; say nothing when it already is."""
    level = sys.argv[1] if len(sys.argv) > 1 else "run"
    if level not in REQUIREMENTS:
        return _fail(f"unknown level {level!r}: use one of {', '.join(REQUIREMENTS)}")
    if sys.version_info[:2] < OLDEST:
        return _fail(_wrong_python())
    # Two `make` at once: the second waits here, then finds everything done.
    with (ROOT / "pyproject.toml").open("r+") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if _is_ready(level):
            return 0
        # pip inherits the turn: a set-up whose pip outlived it is waited for, not torn from it.
        os.set_inheritable(turn.fileno(), True)  # noqa: FBT003 - its own signature
        return _install(level)


def _is_ready(level: str) -> bool:
    """Compare the stamp with the files it was made from; a higher level covers a lower one."""
    if UNFINISHED.exists() or not (PYTHON.exists() and COMMAND.exists()):
        return False
    stamp = _stamp()
    if stamp.get("python") != list(sys.version_info[:2]) and _chosen_python():
        return False
    have = stamp.get("levels", {})
    wanted = _digest(level)
    covered = level == "run" and have.get("dev") == _digest("dev")
    return have.get(level) == wanted or covered


def _stamp() -> dict[str, Any]:
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _install(level: str) -> int:
    started = time.monotonic()
    _say(f"Setting up {VENV.name} with Python {'.'.join(map(str, sys.version_info[:3]))} …")
    if sys.version_info[:2] > NEWEST:
        _say(f"Python newer than {NEWEST[0]}.{NEWEST[1]} is untried; set PYTHON to an older one.")
    if not _usable():
        shutil.rmtree(VENV, ignore_errors=True)
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False)
        if made.returncode != 0:
            shutil.rmtree(VENV, ignore_errors=True)
            return _fail(
                "Python could not make a virtual environment. On Debian and Ubuntu install"
                " python3-venv; elsewhere point PYTHON at a complete Python."
            )
    # From here to the end a killed set-up leaves this file, and the next run starts anew.
    UNFINISHED.touch()
    STAMP.unlink(missing_ok=True)
    wanted = ROOT / REQUIREMENTS[level]
    pinned = _pip("--require-hashes", "--no-deps", "-r", str(wanted), total=_pins(wanted))
    if pinned != 0:
        return pinned
    itself = _pip("--no-deps", "--no-build-isolation", "-e", str(ROOT), total=1)
    if itself != 0:
        return itself
    python = list(sys.version_info[:2])
    stamp = {"root": str(ROOT), "python": python, "levels": {level: _digest(level)}}
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")
    UNFINISHED.unlink()
    _say(f"Ready in {time.monotonic() - started:.0f} s: {COMMAND.relative_to(ROOT)}")
    return 0


def _usable() -> bool:
    """Return whether the present environment is whole, still here and of the Python asked for."""
    if UNFINISHED.exists() or _stamp().get("root") != str(ROOT):
        return False
    ask = "import sys, pip; print(*sys.version_info[:2])"
    try:
        told = subprocess.run([str(PYTHON), "-c", ask], capture_output=True, text=True, check=False)
    except OSError:
        return False
    same = told.stdout.split() == [str(part) for part in sys.version_info[:2]]
    return told.returncode == 0 and same


def _pip(*arguments: str, total: int) -> int:
    """Run pip install, showing one line that moves; on failure show the end of what pip said."""
    command = [str(PYTHON), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    seen = 0
    with LOG.open("a", encoding="utf-8") as log:
        pip = subprocess.Popen(
            [*command, "--progress-bar", "off", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=ROOT,
            close_fds=False,
        )
        for line in pip.stdout or ():
            log.write(line)
            tail.append(line)
            words = line.split()
            if words[:1] == ["Collecting"]:
                seen += 1
                _progress(f"[{seen:>3}/{total}] {words[1]}", step=seen)
            elif words[:1] == ["Downloading"] and len(words) > 1:
                size = " ".join(words[2:])
                _progress(f"[{seen:>3}/{total}] {words[1].rsplit('/', 1)[-1]} {size}", step=0)
            elif words[:1] == ["Installing"]:
                _progress("installing …", step=1)
        code = pip.wait()
    _progress("", step=0)
    if code != 0:
        sys.stderr.writelines(tail)
        return _fail(
            f"pip ended with status {code}; all it said is in {LOG}. Check the network and your"
            " pip configuration (`pip config list`), then run `make setup` again."
        )
    return 0


def _progress(text: str, *, step: int) -> None:
    """Move one line on a terminal; elsewhere write every tenth step."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\033[K{text[:width]}")
        sys.stderr.flush()
    elif text and step % 10 == 1:
        _say(text)


def _digest(level: str) -> str:
    """Return the fingerprint of everything an installation at `level` depends on."""
    content = hashlib.sha256(str(ROOT).encode())
    for name in (REQUIREMENTS[level], "pyproject.toml", "src/caopan/__init__.py"):
        content.update((ROOT / name).read_bytes())
    return content.hexdigest()


def _pins(requirements: Path) -> int:
    return sum("==" in line for line in requirements.read_text(encoding="utf-8").splitlines())


def _chosen_python() -> bool:
    """Return whether the user named the interpreter (make PYTHON=…), not the search."""
    return os.environ.get("SETUP_PYTHON_CHOSEN") == "1"


def _wrong_python() -> str:
    here = ".".join(map(str, sys.version_info[:3]))
    return f"Caopan needs Python 3.11 or later; {sys.executable} is {here}. Set PYTHON=/path/to/it."


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fail(text: str) -> int:
    _say(f"Error: {text}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
