"""Many generated expressions against the oracles, and what came of them."""

from __future__ import annotations

from collections import Counter

from tests.properties.expressions.oracles import AGREE, Verdict, ask
from tests.properties.expressions.programs import CONSTRUCTS, Program

OUTSIDE_MAX = 0.20
"""This part of what is made may have no answer in standard CEL."""

SECOND_MIN = 0.95
"""The second oracle agrees at least so often, where it takes an expression."""

FAILURES_SHOWN = 10


class Agreement:
    """The sum of many comparisons.

    Attributes:
        agreed: How many expressions of which a value, or that there is none, is agreed on.
        used: How many of those use each construct.
        failures: Each with its seed, the expression and both values.
    """

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.second: Counter[bool] = Counter()
        self.used: Counter[str] = Counter()
        self.failures: list[str] = []

    @property
    def agreed(self) -> int:
        return sum(self.verdicts[each] for each in AGREE)

    @property
    def made(self) -> int:
        return self.verdicts.total()

    def compare(self, seed: int) -> None:
        """Make one expression and compare it."""
        program = Program(seed)
        answer = ask(program.text)
        self.verdicts[answer.verdict] += 1
        if answer.second is not None:
            self.second[answer.second] += 1
        if answer.verdict in AGREE:
            self.used.update(program.made.keys())
        elif answer.verdict is Verdict.DIFFERENT:
            self.failures.append(
                f"seed {seed}: {program.text}\n  ours {answer.ours}\n  theirs {answer.theirs}"
            )

    def add(self, other: Agreement) -> None:
        """Take in what another process found."""
        self.verdicts += other.verdicts
        self.second += other.second
        self.used += other.used
        self.failures += other.failures

    def summary(self) -> str:
        """How often what came out, and what the agreed ones were made of."""
        verdicts = [f"  {self.verdicts[each]:8d}  {each.value}" for each in Verdict]
        constructs = [f"  {self.used[each]:8d}  {each}" for each in CONSTRUCTS]
        return "\n".join(
            (
                f"{self.made} expressions, {self.agreed} agreed",
                *verdicts,
                f"the second oracle agrees with {self.second[True]} of {self.second.total()}",
                "agreed expressions that use",
                *constructs,
            )
        )

    def faults(self, *, each_min: int) -> list[str]:
        """What is wrong; `each_min` agreed expressions must use each construct."""
        found = self.failures[:FAILURES_SHOWN]
        rare = [each for each in CONSTRUCTS if self.used[each] < each_min]
        if rare:
            found.append(f"used fewer than {each_min} times: {', '.join(rare)}")
        if self.made - self.agreed > OUTSIDE_MAX * self.made:
            found.append(f"{self.made - self.agreed} of {self.made} have no answer in standard CEL")
        if self.second[True] < SECOND_MIN * self.second.total():
            found.append(f"the second oracle disagrees with {self.second[False]}")
        return found
