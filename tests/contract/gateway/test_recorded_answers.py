"""What every shelf of recorded answers owes a replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from caopan.adapters.llm.recordings import FileRecording, RecordingFile, recording_line
from caopan.application.ports.recorded_answers import RecordedAnswers
from caopan.kernel.errors import ConfigInvalid

A, B = "a" * 64, "b" * 64
RECORDINGS = [
    FileRecording(A, "m-1", stream=False, response='{"choices": [{"content": "不买"}]}'.encode()),
    FileRecording(A, "m-1", stream=False, response=b"a later answer"),
    FileRecording(A, "m-2", stream=True, response=b"data: {}\r\n\r\n"),
    FileRecording(B, "m-2", stream=True, response=b"\xff\x00 no text \xfe"),
    FileRecording("c" * 64, "m-1", stream=False, response=b""),
]


def in_a_file(folder: Path) -> RecordedAnswers:
    path = folder / "calls.jsonl"
    path.write_bytes(b"".join(map(recording_line, RECORDINGS)))
    return RecordingFile(path)


every_shelf = pytest.mark.parametrize("shelf", [in_a_file])


@every_shelf
async def test_the_first_answer_to_a_prompt_comes_back_bit_for_bit(shelf, tmp_path):
    answers = shelf(tmp_path)
    for recording in (RECORDINGS[0], RECORDINGS[2], RECORDINGS[3], RECORDINGS[4]):
        found = await answers.recorded(recording.prompt_hash, recording.model)
        assert found is not None
        assert (found.stream, found.response) == (recording.stream, recording.response)


@every_shelf
async def test_without_a_model_the_first_of_any_holds(shelf, tmp_path):
    found = await shelf(tmp_path).recorded(A)
    assert found is not None
    assert found.response == RECORDINGS[0].response


@every_shelf
async def test_what_was_not_recorded_is_none(shelf, tmp_path):
    answers = shelf(tmp_path)
    assert await answers.recorded("d" * 64) is None
    assert await answers.recorded(B, "m-1") is None


async def test_a_last_line_cut_off_while_it_was_written_does_not_count(tmp_path):
    path = tmp_path / "calls.jsonl"
    path.write_bytes(recording_line(RECORDINGS[0]) + recording_line(RECORDINGS[3])[:-20])
    answers = RecordingFile(path)
    assert await answers.recorded(A) is not None
    assert await answers.recorded(B) is None


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"[]\n",
        b"no json\n",
        b'{"prompt_hash": "short", "model": "m", "stream": false, "response": ""}\n',
        b'{"prompt_hash": "%s", "model": 1, "stream": false, "response": ""}\n' % (b"a" * 64),
        b'{"prompt_hash": "%s", "model": "m", "stream": 0, "response": ""}\n' % (b"a" * 64),
        b'{"prompt_hash": "%s", "model": "m", "stream": true, "response": 5}\n' % (b"a" * 64),
        b'{"prompt_hash": "%s", "model": "m", "stream": true, "response_base64": "?"}\n'
        % (b"a" * 64),
    ],
)
async def test_a_line_that_is_no_recording_is_named(tmp_path, line):
    path = tmp_path / "calls.jsonl"
    path.write_bytes(recording_line(RECORDINGS[0]) + line)
    with pytest.raises(ConfigInvalid, match="line 2") as caught:
        await RecordingFile(path).recorded(A)
    assert caught.value.code == "RECORDING_UNREADABLE"


async def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigInvalid, match=r"calls\.jsonl"):
        await RecordingFile(tmp_path / "calls.jsonl").recorded(A)
