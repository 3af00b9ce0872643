"""Startup and teardown that do not match: what one side does and the other not undo."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cpuhp.kernel.hazards.masks import last_name
from cpuhp.kernel.hazards.rules import Finding, Subject, report
from cpuhp.kernel.hazards.walk import MAX_PLACES, Reached


@dataclass(frozen=True)
class Pair:
    """Calls that do something, calls that undo it, and in words what they do.

    `named`: the argument, from 0, that must be the same on both sides; None if any call
    of the other sort will do.
    """

    does: str
    undoes: str
    words: str
    undone: str
    named: int | None = None
    both: bool = True  # False: undoing more than was done is no fault

    def turned(self) -> Pair:
        """The pair seen from the teardown."""
        return Pair(self.undoes, self.does, self.undone, self.words, self.named)


_PAIRS = (
    Pair(r"enable_percpu_(?:irq|nmi)", r"disable_percpu_(?:irq|nmi)\w*",
         "enables a per-CPU interrupt", "disables a per-CPU interrupt"),
    Pair(r"(?:request_(?:threaded_)?irq|bind_\w+_to_irqhandler)",
         r"(?:free_irq|unbind_from_irqhandler)", "requests an interrupt",
         "frees an interrupt"),
    Pair(r"(?:sysfs_create_(?:group|file|bin_file)s?|device_create_(?:bin_)?file"
         r"|sysfs_merge_group|device_add_group\w*)",
         r"(?:sysfs_remove_(?:group|file|bin_file)s?|device_remove_(?:bin_)?file"
         r"|sysfs_unmerge_group|device_remove_group\w*|kobject_(?:put|del)"
         r"|device_unregister|platform_device_unregister)",
         "creates files in sysfs", "removes files in sysfs", both=False),
    Pair(r"(?:device_create|device_register|cpu_device_create|platform_device_add)",
         r"(?:device_destroy|device_unregister|platform_device_(?:del|unregister))",
         "creates a device", "removes a device", both=False),
    Pair(r"kthread_(?:create|run)\w*",
         r"(?:kthread_(?:stop|destroy|park)\w*|torture_stop_kthread)",
         "creates a thread", "stops a thread", both=False),
    Pair(r"(?:schedule|queue|mod)_delayed_work(?:_on)?",
         r"(?:cancel|flush)_delayed_work\w*", "queues delayed work",
         "cancels delayed work", both=False),
    Pair(r"hrtimer_start\w*", r"hrtimer_(?:try_to_)?cancel\w*", "starts a timer",
         "cancels a timer", both=False),
    Pair(r"(?:add_timer_on|add_timer|mod_timer\w*)",
         r"(?:try_to_)?(?:del|timer_delete|timer_shutdown)_?(?:timer)?(?:_sync)?",
         "starts a timer", "deletes a timer", both=False),
    Pair(r"napi_enable", r"napi_disable", "enables NAPI", "disables NAPI"),
    Pair(r"irq_matrix_online", r"irq_matrix_offline", "puts its vectors online",
         "takes its vectors offline"),
    Pair(r"clk_(?:prepare_)?enable", r"clk_disable\w*", "enables a clock",
         "disables a clock"),
    Pair(r"static_branch_inc\w*", r"static_branch_dec\w*", "counts up a static key",
         "counts down a static key", 0),
    Pair(r"cpumask_(?:test_and_)?set_cpu", r"cpumask_\w*clear\w*",
         "enters its CPU in {}", "takes its CPU out of {}", 1),
    Pair(r"(?!clockevents|lockdep|\w*[gs]et_)(?:[a-z]\w*?_)?(?<!un)register(?:_\w+)?",
         r"\w*unregister\w*", "registers something", "unregisters something",
         both=False),
)  # fmt: skip


# Done once for a CPU that comes for the first time, and kept on purpose.
_ONCE = re.compile(r"discover|probe|(?<!e)init")
_ALLOCATES = re.compile(
    r"(?:\bper_cpu\s*\(\s*(\w+)[^;=]*|\b(\w+)\s*\[\s*\w*cpu\w*\s*\][\w.>-]*)"
    r"\s*=(?!=)\s*(?:\([^()]*\)\s*)?"
    r"(?:k\w*alloc\w*|vz?alloc\w*|alloc_pages?\w*|__get_free_pages?)\s*\("
)


def one_sided(subject: Subject) -> Iterator[Finding]:
    """What this callback does and no opposite callback of the file undoes."""
    if not subject.other:
        return
    opposite = (*subject.other, *subject.opposite)
    own = [
        where
        for where in subject.reached
        if len(where.chain) <= 3 and not _ONCE.search(where.function.name)
    ]
    for pair in _PAIRS:
        if not subject.teardown:
            yield from _missing(subject, own, pair, opposite)
        elif pair.both:
            yield from _missing(subject, own, pair.turned(), opposite)
    if not subject.teardown:
        yield from _kept(subject, own, opposite)


def _missing(
    subject: Subject, own: Iterable[Reached], pair: Pair, other: Sequence[Reached]
) -> Iterator[Finding]:
    done = [(w, *call) for w in own for call in _calls(w, pair.does, pair.named)]
    if not done:
        return
    undone = {
        last_name(given)
        for where in other
        for _, given in _calls(where, pair.undoes, pair.named)
    }
    told: set[int] = set()  # one of a sort is enough for a function
    for where, offset, given in done:
        if id(where) in told or last_name(given) in undone:
            continue
        if pair.named is None and len(where.chain) > 2:
            continue
        if not _about_own(where, pair, offset):
            continue
        if _may_be_undone(subject, pair, where, offset, other):
            continue
        if pair.named is None and _only_if_missing(where, offset):
            continue
        told.add(id(where))
        yield _finding(subject, where, offset, pair.words.format(given))


def _may_be_undone(
    subject: Subject, pair: Pair, where: Reached, offset: int, other: Sequence[Reached]
) -> bool:
    """True if it may be undone in a way that is not seen here."""
    texts = {w.file: w.source.bare for w in (where, *other)}
    opening = where.function.start + where.body.index("(", offset)
    split = where.source.arguments(opening)
    given = [where.source.piece(span) for span in split[0]] if split else []
    if subject.teardown:  # what the file does elsewhere may come before any teardown
        named = rf"[^;]*\b{last_name(given[pair.named])}\b" if pair.named else ""
        undoes = re.compile(rf"\b{pair.undoes}\s*\({named}")
        return any(undoes.search(text) for text in texts.values())
    roots = {m[1] for g in given if (m := re.match(r"&?([a-z_]\w*)->", g))}
    bodies = [w.body for w in other]
    if pair.named is None and not pair.both:
        return any(re.search(rf"\b{r}->", body) for r in roots for body in bodies)
    return bool(roots) and any(re.search(r"\bkv?free\s*\(", b) for b in bodies)


def _only_if_missing(where: Reached, offset: int) -> bool:
    """True behind `if (!...)`: done once, for what is not there yet."""
    before = where.body[max(0, offset - 240) : offset]
    if re.search(r"\bif\s*\(\s*![^}]*$", before):
        return True
    return where.caller is not None and _only_if_missing(*where.caller)


def _kept(
    subject: Subject, own: Iterable[Reached], other: Sequence[Reached]
) -> Iterator[Finding]:
    """Memory for the CPU that the opposite callbacks never speak of."""
    for where in own:
        for match in islice(_ALLOCATES.finditer(where.body), MAX_PLACES):
            name = match[1] or match[2]
            before = where.body[max(0, match.start() - 400) : match.start()]
            if re.search(rf"\bif\s*\([^;]*\b{name}\b", before):
                continue  # only if there is none yet
            if any(re.search(rf"\b{name}\b", w.body) for w in other):
                continue
            words = f"allocates {name} of its CPU"
            yield _finding(subject, where, match.start(), words)


def _finding(subject: Subject, where: Reached, offset: int, words: str) -> Finding:
    opposite = "startup" if subject.teardown else "teardown"
    said = f"{where.function.name}() {words}, which the {opposite} does not undo"
    return report(subject, "one-sided", "note", said, where, offset)


def _calls(where: Reached, name: str, named: int | None) -> Iterator[tuple[int, str]]:
    """Calls in a function, and the name of the argument that counts."""
    pattern = re.compile(rf"\b{name}\s*\(")
    start = max(0, where.body.find("{"))
    for match in islice(pattern.finditer(where.body, start), MAX_PLACES):
        if named is None:
            yield match.start(), ""
            continue
        opening = where.function.start + match.end() - 1
        split = where.source.arguments(opening)
        given = [where.source.piece(span) for span in split[0]] if split else []
        if len(given) > named:
            yield match.start(), given[named].lstrip("&")


def _about_own(where: Reached, pair: Pair, offset: int) -> bool:
    """False for a mask in which another CPU than the callback's own is entered."""
    if pair.named != 1:
        return True
    body = where.body
    opening = where.function.start + body.index("(", offset)
    split = where.source.arguments(opening)
    given = where.source.piece(split[0][0]) if split else ""
    mask = where.source.piece(split[0][1]) if split and len(split[0]) > 1 else ""
    kind = r"(?:\bcpumask_(?:var_)?t|\bstruct\s+cpumask)"
    if re.search(rf"{kind}\s[^;]*\b{re.escape(last_name(mask))}\b", body):
        return False  # a mask of its own
    return (given,) == where.function.parameters[:1] or "smp_processor_id" in given
