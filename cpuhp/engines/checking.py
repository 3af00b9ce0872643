"""The claims of a program, from the linked program to their answers."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cpuhp.engines.answer import Answer, Progress, Settings, Sliced
from cpuhp.engines.ladder import Ladder
from cpuhp.engines.slices import Slices
from cpuhp.model.system import Expectation, Property
from cpuhp.semantics.locks import circle

if TYPE_CHECKING:
    from cpuhp.engines.parametric.lessons import Lessons


class Checker(Slices):
    """Answers the claims of one program."""

    def answer(
        self,
        check_name: str,
        number: int,
        settings: Settings,
        progress: Progress | None = None,
        lessons: Lessons = (),
    ) -> Answer:
        """The verdict on one claim; `lessons` are what other proofs have taught."""
        started = time.monotonic()
        if self.deciding(check_name, number) is not self:
            found = self.watching.answer(
                check_name, number, settings, progress, lessons
            )
            return in_words(found, self.claim(check_name, number))
        if self.claim(check_name, number).expectation is Expectation.RACE_FREE:
            # Each group of variables will have a slice of its own.
            sliced = Sliced(*self.entire(check_name, number), frozenset())
        else:
            sliced = self.slice(check_name, number)
        run = Ladder(
            self,
            check_name,
            number,
            sliced,
            settings,
            progress,
            lessons=lessons,
        )
        answer = run.go()
        seconds = time.monotonic() - started
        return replace(answer, result=replace(answer.result, seconds=seconds))

    def search(
        self,
        sliced: Sliced,
        number: int,
        counts: tuple[int, ...],
        settings: Settings,
        variable: str | None = None,
    ) -> Answer:
        """What a search at these numbers of CPUs, fewest first, says of one claim.

        `sliced` is the slice of claim `number` of its check; for data races it may be
        that of one `variable`. A violation was replayed in the whole program.
        """
        started = time.monotonic()
        races = None if variable is None else (frozenset({variable}),)
        run = Ladder(self, sliced.prop.check, number, sliced, settings, None, races)
        last, answer = run.search(counts)
        answer = answer or run.unviolated(last)
        seconds = time.monotonic() - started
        return replace(answer, result=replace(answer.result, seconds=seconds))


def in_words(answer: Answer, prop: Property) -> Answer:
    """The answer about a watched program as one to the claim about the program."""
    result = replace(answer.result, prop=prop)
    if result.trace is not None:
        result = replace(result, reason=circle(result.trace))
    return replace(answer, result=result)
