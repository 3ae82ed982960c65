"""The report of the check before training: one line for each check, with a verdict, its evidence and the next step."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deltarule.errors import DeltaruleError

VERDICTS = ("ok", "note", "warning", "problem")
VERDICT, WHAT, WIDTH = 9, 21, 110     # widths of the first two columns and of the whole


@dataclass(frozen=True)
class Check:
    """One check: its verdict ("ok", "note", "warning" or "problem"), what was checked, the numbers, and the next step ("" for none).

    Raises DeltaruleError for another verdict.

    >>> print(Check("warning", "input scale", "columns 1, 3 are far from mean 0 and spread 1", "standardize them"))
    warning  input scale          columns 1, 3 are far from mean 0 and spread 1
                                  next: standardize them
    """

    verdict: str
    what: str
    evidence: str
    next_step: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise DeltaruleError(f"a verdict is 'ok', 'note', 'warning' or 'problem', received {self.verdict!r}")

    def __str__(self) -> str:
        texts = [self.evidence] + ([f"next: {self.next_step}"] if self.next_step else [])
        lines = [line for text in texts for line in textwrap.wrap(text, WIDTH - VERDICT - WHAT, break_on_hyphens=False)]
        heads = [f"{self.verdict:<{VERDICT}}{self.what:<{WHAT}}"] + [" " * (VERDICT + WHAT)] * len(lines)
        return "\n".join((head + line).rstrip() for head, line in zip(heads, lines or [""], strict=False))


class Checks(Sequence[Check]):
    """The checks in their order; printing shows the table. `seen` says what was examined.

    `numbers` holds what later steps may want: "rates" (lowest, highest, suggested), "baselines", "loss_at_start".

    >>> found = [Check("ok", "missing values", "none"), Check("problem", "one batch", "loss 2.3 stays 2.3", "look at y")]
    >>> checks = Checks(found, "97 rows", {})
    >>> checks.ok, checks.summary
    (False, '1 problem and 0 warnings in 2 checks')
    """

    def __init__(self, checks: Sequence[Check], seen: str, numbers: dict[str, Any]):
        self._checks, self.seen, self.numbers = tuple(checks), seen, numbers

    @property
    def problems(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return self._with("problem")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that look doubtful."""
        return self._with("warning")

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    @property
    def summary(self) -> str:
        """How many problems and warnings there are."""
        problems, warnings = len(self.problems), len(self.warnings)
        return f"{problems} problem{'s' * (problems != 1)} and {warnings} warning{'s' * (warnings != 1)} in {len(self)} checks"

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON types."""
        return {"ok": self.ok, "problems": len(self.problems), "warnings": len(self.warnings), "seen": self.seen,
                "checks": [asdict(check) for check in self], "numbers": self.numbers}

    def _with(self, verdict: str) -> tuple[Check, ...]:
        return tuple(check for check in self if check.verdict == verdict)

    def __getitem__(self, number: Any) -> Any:
        """A check by its number, or by what it checks: checks["one batch"]."""
        if not isinstance(number, str):
            return self._checks[number]
        for check in self:
            if check.what == number:
                return check
        raise DeltaruleError(f"there is no check {number!r} here; there are {', '.join(check.what for check in self)}")

    def __len__(self) -> int:
        return len(self._checks)

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks)

    def __str__(self) -> str:
        return "\n".join([*textwrap.wrap(f"checked: {self.seen}", WIDTH), *map(str, self), self.summary])

    __repr__ = __str__
