"""Findings: what the doctor saw, how grave it is, the numbers that show it, and what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deltarule.errors import DeltaruleError

SEVERITIES = ("serious", "warning", "note")     # keeps it from learning; costs accuracy or time; good to know
WIDTH = 110


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: how grave ("serious", "warning" or "note"), where (a layer's path, "inputs", "output" ...), what,
    the numbers that show it, and the remedy.

    Raises DeltaruleError for another severity.

    >>> print(Finding("warning", "dense_1", "dead units", "12 of 30 units are zero for all 100 rows", "lower the learning rate"))
    warning  dense_1: dead units
             12 of 30 units are zero for all 100 rows
             what to do: lower the learning rate
    """

    severity: str
    where: str
    what: str
    evidence: str
    remedy: str

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise DeltaruleError(f"a finding is 'serious', 'warning' or 'note', received {self.severity!r}")

    def __str__(self) -> str:
        return paragraph(self.severity, f"{self.where}: {self.what}", self.evidence, f"what to do: {self.remedy}")


class Findings(Sequence[Finding]):
    """What was found, the gravest first: a sequence of `Finding`. Printing it shows one block for each.

    `seen` says in words what was examined, `looked_for` names the rules.

    >>> healthy = Findings([], "97 rows, loss 0.02", ("dead units", "saturated units"))
    >>> print(healthy)
    examined: 97 rows, loss 0.02
    nothing found; looked for: dead units, saturated units
    >>> healthy.ok, healthy.serious
    (True, ())
    """

    def __init__(self, findings: Sequence[Finding], seen: str, looked_for: Sequence[str]):
        self._findings = tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
        self.seen, self.looked_for = seen, tuple(looked_for)

    @property
    def serious(self) -> tuple[Finding, ...]:
        """The findings that keep the network from learning."""
        return tuple(finding for finding in self if finding.severity == "serious")

    @property
    def ok(self) -> bool:
        """Whether nothing serious was found."""
        return not self.serious

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON types."""
        return {"ok": self.ok, "seen": self.seen, "looked_for": list(self.looked_for), "findings": [asdict(finding) for finding in self]}

    def __getitem__(self, number: Any) -> Any:
        return self._findings[number]

    def __len__(self) -> int:
        return len(self._findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._findings)

    def __str__(self) -> str:
        names = ", ".join(self.looked_for)
        last = f"looked for: {names}" if self else f"nothing found; looked for: {names}"
        return "\n".join([*_wrapped(f"examined: {self.seen}"), *map(str, self), *_wrapped(last)])

    __repr__ = __str__


def paragraph(mark: str, *lines: str) -> str:
    """Lines beside a mark at the left, long ones wrapped.

    >>> print(paragraph("ok", "input scale", "from -1 to 1"))
    ok       input scale
             from -1 to 1
    """
    texts = [part for line in lines for part in textwrap.wrap(line, WIDTH - 9, break_on_hyphens=False) or [""]]
    return "\n".join(f"{mark if i == 0 else '':<9}{text}".rstrip() for i, text in enumerate(texts))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False, subsequent_indent="  ")
