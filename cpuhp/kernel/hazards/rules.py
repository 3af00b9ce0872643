"""The rules: what each finds, why that is unsafe, and what a finding says."""

from __future__ import annotations

from dataclasses import dataclass

from cpuhp.kernel.hazards.walk import Place, Reached
from cpuhp.kernel.registrations.model import Row


@dataclass(frozen=True)
class Rule:
    """A stable id, what it finds, and why that is unsafe in a batch.

    `given` is what has to hold besides for what it finds to be right, if it can be.
    """

    id: str
    title: str
    why: str
    given: str = ""


@dataclass(frozen=True)
class Finding:
    """One finding in one callback. `level` is `error`, `warning` or `note`.

    `file` and `line` say where it is, `chain` how the callback gets there.
    """

    rule: str
    level: str
    message: str
    file: str
    line: int
    chain: tuple[Place, ...]
    state: str
    name: str
    role: str
    mask: str | None = None


@dataclass(frozen=True)
class Subject:
    """A registered callback with everything that it reaches."""

    row: Row
    role: str  # startup or teardown
    reached: tuple[Reached, ...]
    other: tuple[Reached, ...]  # what the opposite callback reaches
    opposite: tuple[Reached, ...] = ()  # what others of that sort in the file reach

    @property
    def teardown(self) -> bool:
        return self.role == "teardown"


RULES = (
    Rule(
        "target-from-online-mask",
        "A hand-off chooses its target from cpu_online_mask",
        "A CPU is in cpu_online_mask until its very last steps. While CPUs go down as "
        "a batch, the chosen one may be going down, too, and may have run its own "
        "teardown already: what is handed to it is never handed on.",
    ),
    Rule(
        "target-from-stale-mask",
        "A hand-off chooses its target from a topology, node or fixed mask",
        "Such a mask keeps a CPU until it is dead, or for ever. It is as stale as "
        "cpu_online_mask while CPUs go down as a batch.",
    ),
    Rule(
        "target-from-private-mask",
        "A hand-off chooses its target from a mask that each CPU leaves first",
        "Each CPU leaves the mask before it looks for a successor, so the chain of "
        "hand-offs ends well if clearing and choosing cannot interleave. A test for "
        "the last CPU changes its meaning in a batch.",
        "nobody else clears or chooses between a CPU's clearing and its choosing: one "
        "lock is held around both",
    ),
    Rule(
        "target-from-active-mask",
        "A hand-off chooses its target from cpu_active_mask",
        "All CPUs of a batch must have left cpu_active_mask before the first one runs "
        "this: that needs a barrier behind the ACTIVE teardown.",
        "all CPUs of a batch have left cpu_active_mask before the first one runs this: "
        "that needs a barrier behind the ACTIVE teardown",
    ),
    Rule(
        "target-not-dying",
        "A hand-off leaves out the CPUs that are on their way down",
        "Right if every CPU of a batch is in cpu_dying_mask before the first of them "
        "runs this, and none is in it that stays up.",
        "every CPU of a batch is in cpu_dying_mask before the first of them runs this, "
        "and none is in it that stays up",
    ),
    Rule(
        "last-one-out",
        "A teardown asks whether its CPU is the last one",
        "CPUs that go down as a batch see each other: none of them finds itself last, "
        "or several do, with no race needed.",
    ),
    Rule(
        "online-count",
        "A teardown counts the CPUs that are online",
        "The CPUs of a batch are all counted until their very last steps, so the "
        "number, or the number less one, is not how many will be left.",
    ),
    Rule(
        "plain-rmw",
        "A shared variable is read, changed and written without a lock",
        "Two CPUs that run this at the same time lose one of the two updates.",
    ),
    Rule(
        "serial-claim",
        "A comment or an assertion claims that hotplug is serial",
        "The claim is false once callbacks of several CPUs run at the same time.",
    ),
    Rule(
        "teardown-can-fail",
        "A teardown can fail where failure is not allowed",
        "In PREPARE and STARTING the error of a teardown is logged and ignored: the "
        "CPU goes on down half torn down, and in a batch nobody waits for it.",
    ),
    Rule(
        "wait-under-lock",
        "A teardown waits while it holds a lock",
        "The CPUs of a batch queue up behind the lock, each for the whole wait; if "
        "what is waited for needs another CPU of the batch, they deadlock.",
    ),
    Rule(
        "lock-irq-unsafe",
        "A lock that an interrupt takes, too, is taken with interrupts on",
        "The interrupt may come on this very CPU while it holds the lock, and then "
        "waits for ever for what it has interrupted. The more CPUs hand over at once, "
        "the likelier.",
    ),
    Rule(
        "lock-not-released",
        "A function returns with a lock that it releases elsewhere",
        "The next CPU that wants the lock waits for ever. One by one that may go "
        "unnoticed until the next hotplug operation; in a batch it stops the others.",
    ),
    Rule(
        "one-sided",
        "A callback does what its opposite does not undo",
        "A CPU that was down once is not as it was before: what is left behind, or "
        "taken away for good, is found by who comes next. One by one that may go "
        "unnoticed; a batch leaves it behind on every CPU.",
    ),
)
BY_ID = {rule.id: rule for rule in RULES}
GIVEN = {rule.id: rule.given for rule in RULES if rule.given}


def report(
    subject: Subject,
    rule: str,
    level: str,
    message: str,
    where: Reached,
    offset: int,
    mask: str | None = None,
) -> Finding:
    """A finding of a rule at an offset of a function that a callback reaches."""
    row = subject.row
    return Finding(
        rule,
        level,
        message,
        where.file,
        where.line(offset),
        where.chain,
        row.state or "?",
        row.name or row.name_expression,
        subject.role,
        mask,
    )
