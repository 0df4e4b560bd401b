"""Recorded answers in a file: one JSON object a line, the first of a prompt and model holds.

Owns the form of a line ({"prompt_hash", "model", "stream", "response"}) and the index of a file.
Must never change a byte of an answer, nor read a line that is not whole.
Tests: tests/contract/gateway/test_recorded_answers.py.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import orjson

from caopan.kernel.errors import ConfigInvalid

_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileRecording:
    """One answer of a file."""

    prompt_hash: str
    model: str
    stream: bool
    response: bytes


def recording_line(recording: FileRecording) -> bytes:
    """Return a recording as a line to append to a file."""
    told: dict[str, Any] = {
        "prompt_hash": recording.prompt_hash,
        "model": recording.model,
        "stream": recording.stream,
    }
    try:
        told["response"] = recording.response.decode()
    except UnicodeDecodeError:
        # JSON has no bytes, and not one of them may be lost.
        told["response_base64"] = base64.b64encode(recording.response).decode()
    return orjson.dumps(told) + b"\n"


class RecordingFile:
    """RecordedAnswers in a file, read when it is first asked and not again."""

    def __init__(self, path: Path) -> None:
        """Remember the file; nothing is read yet."""
        self._path = path
        self._lock = asyncio.Lock()
        self._index: dict[tuple[str, str | None], tuple[int, int]] | None = None

    async def recorded(self, prompt_hash: str, model: str | None = None) -> FileRecording | None:
        """Return the first answer recorded to a prompt (of `model`, if named).

        Raises ConfigInvalid RECORDING_UNREADABLE, naming the line.
        """
        async with self._lock:
            if self._index is None:
                self._index = await asyncio.to_thread(self._indexed)
        place = self._index.get((prompt_hash, model))
        return None if place is None else await asyncio.to_thread(self._read, *place)

    def _indexed(self) -> dict[tuple[str, str | None], tuple[int, int]]:
        index: dict[tuple[str, str | None], tuple[int, int]] = {}
        start = 0
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    # A last line without its end was cut off while it was written.
                    if line.endswith(b"\n") and line.strip():
                        found = self._parsed(line, number)
                        place = start, number
                        index.setdefault((found.prompt_hash, found.model), place)
                        index.setdefault((found.prompt_hash, None), place)
                    start += len(line)
        except OSError as error:
            raise self._unreadable(error.strerror or type(error).__name__) from error
        return index

    def _read(self, start: int, number: int) -> FileRecording:
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                return self._parsed(file.readline(), number)
        except OSError as error:
            raise self._unreadable(error.strerror or type(error).__name__) from error

    def _parsed(self, line: bytes, number: int) -> FileRecording:
        try:
            told = cast("dict[str, Any]", orjson.loads(line))
            response = (
                told["response"].encode()
                if "response" in told
                else base64.b64decode(told["response_base64"], validate=True)
            )
            found = FileRecording(told["prompt_hash"], told["model"], told["stream"], response)
        except (ValueError, LookupError, TypeError, AttributeError, binascii.Error):
            raise self._unreadable(f"line {number} is no recording") from None
        whole = (
            isinstance(cast("object", found.prompt_hash), str)
            and _HASH.fullmatch(found.prompt_hash) is not None
            and isinstance(cast("object", found.model), str)
            and isinstance(cast("object", found.stream), bool)
        )
        if not whole:
            raise self._unreadable(f"line {number} lacks a prompt_hash, model or stream")
        return found

    def _unreadable(self, why: str) -> ConfigInvalid:
        return ConfigInvalid(
            "RECORDING_UNREADABLE",
            f"{self._path}: {why}",
            remedy="Give the file of recorded calls as it was written.",
        )
