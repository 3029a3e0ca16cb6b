"""One line of the report."""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

Grade = Literal["ok", "hint", "FIX"]


class Finding(NamedTuple):
    """What one look at the machine gave.

    Attributes:
        subject: what was looked at.
        found: what was found.
        advice: what to do about it; nothing where all is well.
        grade: "hint" where training works and could be better off, "FIX" where it cannot work.
    """

    subject: str
    found: str
    advice: str = ""
    grade: Grade = "ok"


def looked_at(
    subject: str, look: Callable[[], Iterable[Finding]], advice: str = ""
) -> list[Finding]:
    """What `look` finds; if it fails, that is the finding.

    Args:
        subject: what it looks at.
        look: gives findings, or raises anything.
        advice: what to do where it fails.
    """
    findings = []
    try:
        # one by one: what was found before a failure stays found
        for finding in look():
            findings.append(finding)
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        otherwise = "read the error; if it says nothing to you, report it with this page"
        findings.append(Finding(subject, said, advice or otherwise, "FIX"))
    return findings


def page(findings: list[Finding]) -> str:
    """The report: a line a finding, its advice below it, and how many need doing."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.grade:<5} {finding.subject:<14} {finding.found}")
        if finding.advice:
            lines.append(f"{'':<20} -> {finding.advice}")
    broken = sum(finding.grade == "FIX" for finding in findings)
    things = "1 thing" if broken == 1 else f"{broken} things"
    return "\n".join([*lines, "", f"{things} to put right" if broken else "this machine can train"])
