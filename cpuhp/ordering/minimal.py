"""Which pieces suffice: all minimal sets, and the largest ones that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from cpuhp.engines.subsets import Unexplored

Holds = Callable[[Sequence[frozenset[str]]], list[bool | None]]
FEW = 3  # of so many pieces every subset is looked at


@dataclass(frozen=True)
class Sets:
    """Minimal sufficient sets and maximal insufficient ones, each in order.

    `complete`: there are no others. `monotone`: no piece was seen to do harm; it is
    known only if every subset was looked at.
    """

    sufficient: tuple[frozenset[str], ...]
    insufficient: tuple[frozenset[str], ...]
    complete: bool = True
    monotone: bool | None = None


def minimal_sets(universe: Sequence[str], holds: Holds, limit: int = 200) -> Sets:
    """The minimal sets of pieces for which `holds`, given that all together do.

    `holds` gets several sets at once; None stands for not known, which counts as not
    sufficient and makes the result incomplete. At most `limit` sets are asked.
    """
    if len(universe) <= FEW:
        return _all_subsets(universe, holds)
    return _map_of(universe, holds, limit)


def _all_subsets(universe: Sequence[str], holds: Holds) -> Sets:
    subsets = [
        frozenset(chosen)
        for size in range(len(universe) + 1)
        for chosen in combinations(universe, size)
    ]
    known = dict(zip(subsets, holds(subsets)))
    good = [s for s in subsets if known[s]]
    bad = [s for s in subsets if not known[s]]
    return Sets(
        _sorted([s for s in good if not any(o < s for o in good)], universe),
        _sorted([s for s in bad if not any(o > s for o in bad)], universe),
        None not in known.values(),
        not any(o < s for s in bad for o in good),
    )


def _map_of(universe: Sequence[str], holds: Holds, limit: int) -> Sets:
    open_sets = Unexplored(universe)
    good: list[frozenset[str]] = []
    bad: list[frozenset[str]] = []
    asked = 0
    complete = True

    def ask(chosen: frozenset[str]) -> bool:
        nonlocal asked, complete
        asked += 1
        (told,) = holds([chosen])
        complete = complete and told is not None
        return bool(told)

    if ask(frozenset()):  # the usual case: none is needed
        return Sets((frozenset(),), (), complete)
    while asked < limit:
        seed = open_sets.next()
        if seed is None:
            return Sets(_sorted(good, universe), _sorted(bad, universe), complete)
        if ask(seed):
            for name in [n for n in universe if n in seed]:
                if ask(seed - {name}):
                    seed -= {name}
            good.append(seed)
            open_sets.sufficient(seed)
        else:
            for name in [n for n in universe if n not in seed]:
                if not ask(seed | {name}):
                    seed |= {name}
            bad.append(seed)
            open_sets.insufficient(seed)
    return Sets(_sorted(good, universe), _sorted(bad, universe), False)


def smallest(
    pieces: Sequence[str], needed: Callable[[frozenset[str]], bool]
) -> frozenset[str]:
    """One minimal part of `pieces` for which `needed` still is true, as for all of them."""
    left = frozenset(pieces)
    for name in pieces:
        if needed(left - {name}):
            left -= {name}
    return left


def unions(
    families: Sequence[Sequence[frozenset[str]]], limit: int = 64
) -> list[frozenset[str]]:
    """Minimal sets that contain a member of each family."""
    found: list[frozenset[str]] = [frozenset()]
    for family in families:
        joined = {one | other for one in found for other in family}
        minimal = [s for s in joined if not any(o < s for o in joined)]
        found = sorted(minimal, key=lambda s: (len(s), sorted(s)))[:limit]
    return found


def _sorted(
    sets: Sequence[frozenset[str]], universe: Sequence[str]
) -> tuple[frozenset[str], ...]:
    at = {name: number for number, name in enumerate(universe)}
    return tuple(sorted(sets, key=lambda s: (len(s), sorted(at[n] for n in s))))
