"""What real counters said, read into our words."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from caopan.adapters.brokers.codes import ctp, reading
from caopan.adapters.brokers.codes.ctp import CTP
from caopan.adapters.brokers.codes.ptrade import PTRADE
from caopan.adapters.brokers.codes.qmt import PRICE_TYPES, QMT
from caopan.adapters.brokers.codes.reading import UNSET_ERROR, reason_of_text, refusal, tag_of
from caopan.adapters.brokers.codes.tora import TORA
from caopan.adapters.brokers.codes.xlight import XLIGHT
from caopan.adapters.brokers.codes.xtp import XTP
from caopan.domain.market.reference import Exchange
from caopan.domain.orders.order import EDGES, TERMINAL, OrderStatus
from caopan.kernel.errors import Denied, OutcomeUnknown, Unavailable

REAL = Path(os.environ.get("CAOPAN_REAL_DATA", Path(__file__).parents[5] / "shared/data"))
NEUTRAL = {
    value for name, value in vars(reading).items() if name.isupper() and str(value)[:7] == "BROKER_"
}
COUNTERS = {"CTP": CTP, "Xlight(A-share counter)": XLIGHT}


def real(name: str) -> Path:
    path = REAL / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set CAOPAN_REAL_DATA to the folder of real data")
    return path


def messages() -> dict[str, dict]:
    lines = real("broker_messages.jsonl").read_text(encoding="utf-8").splitlines()
    return {one["id"]: one for one in map(json.loads, lines)}


@pytest.mark.parametrize("codes", [QMT, PTRADE], ids=lambda one: one.name)
def test_a_cancel_on_its_way_is_no_end_and_what_nobody_knows_is_unknown(codes):
    pending = {"QMT": ("51", "52"), "PTrade": ("3", "4")}[codes.name]
    for status in pending:
        assert codes.status(status) is OrderStatus.PENDING_CANCEL
    assert codes.status("no such state") is OrderStatus.UNKNOWN


@pytest.mark.parametrize("codes", [QMT, XTP, TORA, PTRADE, CTP], ids=lambda one: one.name)
def test_every_counter_says_each_end_and_no_state_of_our_own(codes):
    said = set(codes.statuses.values())
    ends = {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED}
    assert ends <= said
    assert not said & {OrderStatus.CREATED, OrderStatus.SENDING, OrderStatus.NOT_SENT}


def test_status_255_waits_for_evidence():
    assert QMT.status(255) is OrderStatus.UNKNOWN
    assert QMT.status(50) is OrderStatus.ACCEPTED
    assert QMT.status(57) is OrderStatus.REJECTED
    assert OrderStatus.REJECTED in EDGES[OrderStatus.ACCEPTED]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("资金不够用", "BROKER_REJECT_OTHER"),
        ("[COUNTER] 资金余额不足，尚需[1.000]", "BROKER_REJECT_FUNDS"),
        ("可用 资金 不足", "BROKER_REJECT_FUNDS"),
        ("证券可用数量不足", "BROKER_REJECT_POSITION"),
        ("委托价格超出涨跌停限制", "BROKER_REJECT_PRICE_LIMIT"),
        ("委托价格超出有效竞价范围", "BROKER_REJECT_PRICE_LIMIT"),
        ("当前时间不允许交易", "BROKER_REJECT_SESSION"),
        ("非交易时间", "BROKER_REJECT_SESSION"),
        ("请求过快", "BROKER_RATE_LIMIT"),
        ("柜台连接已断开", "BROKER_DISCONNECTED"),
        ("请求超时", "BROKER_TIMEOUT"),
        ("", "BROKER_REJECT_OTHER"),
    ],
)
def test_a_text_without_a_code_is_read_by_rule(text, code):
    assert reason_of_text(text) == code


@pytest.mark.parametrize(
    ("remark", "tag"),
    [
        ("", ""),
        ("C1", "C1"),
        ("C1|C1", "C1"),
        (" C1 | ", "C1"),
        ("C1|C2", ""),
        ("XX:C1|C1", "C1"),
        ("|", ""),
    ],
)
def test_a_remark_may_be_empty_or_doubled(remark, tag):
    assert tag_of(remark) == tag


def test_a_broken_line_is_a_refusal_to_nobody():
    assert isinstance(refusal(XLIGHT, 306, "登录超时", has_left=False), Unavailable)
    assert isinstance(refusal(XLIGHT, 306, "超时", has_left=True), OutcomeUnknown)
    assert isinstance(refusal(XLIGHT, 504, "资金不足", has_left=True), Denied)


def test_market_types_that_an_exchange_lacks_have_no_number():
    for by_exchange in PRICE_TYPES.values():
        assert set(by_exchange) <= set(Exchange)
    assert len({number for one in PRICE_TYPES.values() for number in one.values()}) == 8


def test_every_real_code_maps_to_a_neutral_one_that_its_text_does_not_deny():
    lines = real("broker_error_codes.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines))
    telling = NEUTRAL - {reading.OTHER, reading.BLOCKED}
    read = 0
    for row in rows:
        if row["code"] == "0":
            continue  # not an error
        codes = COUNTERS.get(row["system"], QMT)
        found = codes.reason(row["code"], row["text"])
        assert found in NEUTRAL, row
        assert row["code"] in codes.errors or row["code"] in {"101", "102", "103"}, row
        by_text = reason_of_text(row["text"])
        if by_text in telling and found in telling:
            same_kind = {found, by_text} <= {reading.DISCONNECTED, reading.TIMEOUT, reading.RATE}
            assert found == by_text or same_kind, row
        read += found != reading.OTHER
    assert read > len(rows) // 2


def test_every_real_message_is_read_as_what_it_means():
    said = messages()
    short = said["qmt-reject-251005-a"]
    assert QMT.reason(None, short["raw"]) == reading.POSITION
    assert QMT.status(short["status"]) is OrderStatus.REJECTED

    assert QMT.reason(None, said["qmt-reject-text-nocode"]["raw"]) == reading.FUNDS

    unset = json.loads(said["qmt-order-error-intmax"]["raw"])
    assert unset["error_id"] == UNSET_ERROR
    assert QMT.reason(unset["error_id"], unset["error_msg"]) == reading.FUNDS
    assert tag_of(unset["order_remark"]) == ""

    exported = said["qmt-reject-260200-export"]
    cells = dict(zip(exported["header"].split("\t"), exported["raw"].split("\t"), strict=False))
    assert QMT.status(cells["委托状态"]) is OrderStatus.REJECTED
    assert QMT.reason(None, cells["废单原因"]) == reading.FUNDS
    assert cells["投资备注"].endswith(tag_of(cells["投资备注"]))
    assert tag_of(cells["投资备注"])

    for name in ("qmt-event-order-normal-reject", "qmt-burst-3"):
        text = said[name]["raw"]
        assert text.index("50") < text.index("57")
    assert QMT.reason(None, said["qmt-burst-3"]["raw"]) == reading.FUNDS

    for word in said["qmt-status-enum"]["raw"].split(";"):
        number, name = word.split()
        assert QMT.status(number) is QMT.status(name) is QMT.statuses[number]
    ends = {number for number, state in QMT.statuses.items() if state in TERMINAL}
    assert {one for one in ends if one.isdigit()} == {"53", "54", "56", "57"}

    limit = said["ctp-statusmsg-limit"]
    assert ctp.ended(limit["status"], limit["raw"]) is OrderStatus.REJECTED
    assert ctp.reason_of_status(limit["raw"]) == reading.PRICE
    assert ctp.ended(limit["status"], "已撤单") is OrderStatus.CANCELED

    # None of these says that an order was placed, or refused for a reason we know.
    vague = ("easytrader-success-ambiguous", "easytrader-false-success", "xueqiu-rate-err")
    for name in (*vague, "ptrade-tushare-tradeapi"):
        assert reason_of_text(said[name]["raw"]) == reading.OTHER
    assert QMT.status("success") is OrderStatus.UNKNOWN
    doubled = said["qmt-dup-callback"]["raw"].splitlines()
    assert len(doubled) == 2 * len(set(doubled))
