"""Reading replies: a hundred thousand generated ones, the time of one, and of a prompt before it.

Every generated reply is compared with what its generator knows it to mean. Pieces of real replies
(`llm_messages.jsonl.gz` in CAOPAN_REAL_DATA) are embedded where there are any. Time of one: read
and checked, plain and in a dress of six kinds, on an observation of 50 symbols. A prompt is
rendered from an observation of 50 symbols and ten news, and cut to fit from one of 500 symbols and
a hundred news. Times are CPU time of this process.
"""

from __future__ import annotations

import gzip
import json
import resource
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

from caopan.adapters.prompts.library import PromptLibrary
from caopan.adapters.prompts.sample import sample_observation
from caopan.application.contracts.decision import Reading, read_reply
from caopan.application.decision_cycle.briefing import Briefed, Prompting, brief
from caopan.application.decision_cycle.checker import check
from caopan.application.decision_cycle.observe import Observation
from caopan.application.decision_cycle.outside_text import fence
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.settings import Settings
from caopan.testing.reply_hostile import bombs
from caopan.testing.reply_trial import run_trial
from caopan.testing.samples import NOW, sample_id

REPLIES = 100_000
READINGS = 2_000
PROMPTS = 200
MESSAGES = "llm_messages.jsonl.gz"
SYMBOLS = [f"{600_000 + number}.SH" for number in range(50)]


def run(settings: Settings) -> dict[str, Any]:
    """Return what came of the replies, and the times of one."""
    texts, told = _real_texts(settings.real_data)
    trial = run_trial(REPLIES, _cpu_s, texts=texts)
    return {
        "trial": trial.as_json() | {"failures": trial.examples[:5]},
        "real_texts": told,
        "memory_of_a_bomb": _memory(),
        "plain_600_tokens": _times(_reply()),
        "dressed_600_tokens": _times(_dressed(_reply())),
        "prompt_50_symbols": {lang: _prompt_times(lang, 50, 10) for lang in ("zh", "en")},
        "prompt_500_symbols": _prompt_times("zh", 500, 100),
    }


def _real_texts(folder: Path | None) -> tuple[list[str], str]:
    if folder is None:
        return [], "none: CAOPAN_REAL_DATA is not set"
    file = folder / MESSAGES
    if not file.exists():
        return [], f"none: {MESSAGES} is not in CAOPAN_REAL_DATA"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        found = [str(json.loads(line)["content"]) for line in lines]
    texts = [text for text in found if text]
    return texts, f"{len(texts)} messages"


def _memory() -> dict[str, float]:
    """Return the most memory that reading a text of a million characters takes, a character."""
    worst = 0.0
    for bomb in bombs(990_000):
        tracemalloc.start()
        _read(bomb)
        worst = max(worst, tracemalloc.get_traced_memory()[1] / len(bomb))
        tracemalloc.stop()
    return {"bytes_a_character": round(worst, 1)}


def _reply() -> str:
    actions = [_action(symbol) for symbol in SYMBOLS[:5]]
    account = {"nav": "1000000.00", "cash": "400000.00"}
    reply = {"observation_ref": SEEN.content_hash, "account_view": account, "actions": actions}
    return json.dumps(reply, ensure_ascii=False)


def _action(symbol: str) -> dict[str, Any]:
    return {
        "type": "place_order",
        "symbol": symbol,
        "side": "buy",
        "order_type": "limit",
        "price": "10.05",
        "qty": 1_000,
        "tif": "day",
        "exit_plan": {
            "stop_price": "9.50",
            "take_profit": [{"price": "11.00", "fraction": "0.5"}],
            "time_stop_days": 20,
        },
        "intent": {
            "rationale": "60-day strength, rising volume, better breadth. 板块轮动，量价齐升。",
            "confidence": 0.65,
            "evidence": [f"{symbol}.ret_20d", f"{symbol}.vol_20d"],
        },
    }


def _dressed(reply: str) -> str:
    worn = reply.replace('"10.05"', "10.05").replace('"buy"', '"BUY"').replace("}, {", "}， {")
    thoughts = "<think>现金够吗？先看 {position}，再定。</think>\n好的，决策如下：\n"
    return f"{thoughts}```json\n{worn.replace(']}', ',]}')}\n```\n以上。"


def _observation() -> Observation:
    features = {"last": "10.00", "ret_20d": 0.05, "vol_20d": 0.02}
    rules = {"limit_up": "11.00", "limit_down": "9.00", "tick_size": "0.01"}
    values = {
        "account": {"nav": "1000000.00", "cash": "400000.00", "available_cash": "400000.00"},
        "positions": [],
        "features": dict.fromkeys(SYMBOLS, features),
        "market_rules": dict.fromkeys(SYMBOLS, rules),
        "open_orders": [],
        "news": [{"id": f"n-{number}"} for number in range(30)],
    }
    body = canonical(values)
    return Observation(sample_id(3), values, body, sha256_hex(body))


def _read(text: str) -> Reading:
    until = NOW + timedelta(minutes=10)
    return read_reply(text, decision_id=sample_id(1), made_at=NOW, valid_until=until)


def _times(text: str) -> dict[str, Any]:
    took: list[float] = []
    for _ in range(READINGS):
        began = _cpu_s()
        reading = _read(text)
        assert reading.decision is not None, reading.errors
        result = check(reading.decision, SEEN, NOW, NOW)
        took.append(1_000 * (_cpu_s() - began))
        assert result.passed, result.reasons
    took.sort()
    return {
        "characters": len(text),
        "p50_ms": round(took[len(took) // 2], 3),
        "p95_ms": round(took[int(0.95 * len(took))], 3),
    }


def _prompt_times(lang: str, symbols: int, news: int) -> dict[str, Any]:
    """Return the time from an observation to the messages of the actor's prompt, and its length."""
    library = PromptLibrary()
    prompting = Prompting(library, library.find("actor", lang))
    observation = sample_observation(symbols, news)

    def briefed(number: int) -> Briefed:
        # A mark of its own each time, as each decision has.
        mark = fence(sample_id(number))
        return brief(observation, prompting, content_hash="ab" * 32, fence=mark)

    found, took = briefed(0), list[float]()
    for number in range(PROMPTS):
        began = _cpu_s()
        briefed(number)
        took.append(1_000 * (_cpu_s() - began))
    took.sort()
    return {
        "tokens": found.prompt.tokens,
        "budget_tokens": prompting.budget_tokens,
        "left_out": sorted(found.left_out),
        "p50_ms": round(took[len(took) // 2], 2),
        "p95_ms": round(took[int(0.95 * len(took))], 2),
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


SEEN = _observation()
