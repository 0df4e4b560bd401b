"""RISK_NOT_REPORTED: programme trading at a broker is reported, and confirmed, before it begins.

Must never ask it of a sandbox.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.venue import ReportStatus, Venue


def judge(question: Question) -> Reason | None:
    """Refuse every order to a broker without a confirmed report of what runs."""
    standing = question.standing
    if standing.venue is not Venue.BROKER:
        return None
    report = standing.report
    status = ReportStatus.NOT_REPORTED if report is None else report.status
    if report is None or status is not ReportStatus.CONFIRMED:
        return question.no(
            "RISK_NOT_REPORTED",
            f"the report of programme trading is {status}",
            limit=ReportStatus.CONFIRMED,
            actual=status,
        )
    for what, reported, runs in (
        ("software version", report.software_version, standing.software_version),
        ("strategy", report.strategy_hash, standing.strategy_hash),
    ):
        if runs is not None and runs != reported:
            return question.no(
                "RISK_NOT_REPORTED",
                f"the {what} that runs is not the one reported",
                limit=reported or "none",
                actual=runs,
            )
    return None


RULE = Rule(
    codes=("RISK_NOT_REPORTED",),
    exchange=True,
    source="programme-trading rules of 2024-10-08 and 2025-07-07: report, then trade",
    zh="程序化交易尚未报告并经券商确认，或策略/软件版本已变更",
    en="Programme trading is not reported and confirmed, or something else runs",
    judge=judge,
)
