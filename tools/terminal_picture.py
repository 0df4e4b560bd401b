"""Draw what a command prints in a terminal, as an SVG: the picture in the README.

    .venv/bin/python tools/terminal_picture.py [OUTPUT] [COMMAND ...]

Owns docs/images/demo.svg, by default of `caopan demo --once`. Must never show anything but the
command's own output; only the temporary home is shown as the default one, `.caopan`.
"""

from __future__ import annotations

import inspect
import io
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from typer.main import get_command

from caopan.interfaces.cli.app import build_app
from caopan.interfaces.cli.output import Cli

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "demo.svg"
COMMAND = ("demo", "--once")
WIDTH = 100
LARGEST_BYTES = 100_000
FONT_FACE = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


class Recorder(Console):
    """A console that records what is printed, the home shown under its usual name."""

    def __init__(self, home: str) -> None:
        """Record for a terminal of `WIDTH` columns."""
        super().__init__(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
        self._home = home

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as the class does
        """Print as usual; a long line wraps, because a picture cannot be scrolled."""
        shown = (
            item.replace(self._home, ".caopan") if isinstance(item, str) else item
            for item in objects
        )
        super().print(*shown, **{**options, "soft_wrap": False})


def main() -> int:
    """Run the command in a home of its own and write the picture."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT
    words = tuple(sys.argv[2:]) or COMMAND
    title = " ".join(("caopan", *words))
    with tempfile.TemporaryDirectory(prefix="caopan-") as home:
        console = Recorder(home)
        console.print(f"$ {title}", style="bold")
        cli = Cli("en", overrides={"home": home})
        # Both channels are one screen to a person.
        cli.__dict__.update(out=console, err=console)
        get_command(build_app("en", cli=cli)).main(args=list(words), standalone_mode=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(_picture(console, title), encoding="utf-8")
    size = output.stat().st_size
    print(f"{output}: {size} bytes")
    return 0 if size < LARGEST_BYTES else 1


def _picture(console: Console, title: str) -> str:
    # The stock template fetches a font; every reader has a monospaced one.
    stock = inspect.signature(console.export_svg).parameters["code_format"].default
    template = FONT_FACE.sub("", stock)
    template = template.replace("Fira Code", "ui-monospace, Menlo, Consolas")
    return console.export_svg(
        title=title, theme=SVG_EXPORT_THEME, code_format=template, unique_id="terminal"
    )


if __name__ == "__main__":
    sys.exit(main())
