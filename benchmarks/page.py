"""The page of all benchmarks: a table a section, from the rows that were measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SECTIONS = ("scenarios", "violations", "workloads", "ladder", "growth", "peers", "few")
Store = dict[str, dict[str, Any]]
MISSING = "not measured"


def text(
    head: str, rows: list[tuple[str, str]], store: Store, peers: tuple[str, ...]
) -> str:
    keys = {s: [k for section, k in rows if section == s] for s in SECTIONS}
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`python benchmarks/all.py`), each row in a process of its "
        "own; how to read it: [benchmarks/README.md](../benchmarks/README.md). Seconds are "
        "of the processor, so that other work on the machine does not lengthen them.",
        "",
        head,
        "",
        *scenarios(keys["scenarios"], store),
        *violations(keys["violations"], store),
        *workloads(keys["workloads"], store),
        *ladder(keys["ladder"], store),
        *growth(keys["growth"], store),
        *beside(peers, keys["peers"], store),
        *few(keys["few"], store),
    ]
    return "\n".join(lines).rstrip() + "\n"


def table(head: str, rows: Iterator[str]) -> list[str]:
    listed = list(rows)
    return (
        ["", head, "|" + "---|" * (head.count("|") - 1), *listed, ""] if listed else []
    )


def seconds(value: object) -> str:
    return f"{value:.2f} s" if isinstance(value, float | int) else str(value)


def mebibytes(found: dict[str, Any]) -> str:
    return f"{found['memory'] / 1024:.0f} MiB" if "memory" in found else "-"


def problem(found: dict[str, Any] | None) -> str | None:
    if found is None:
        return MISSING
    return found.get("limit") or found.get("error")


# --- scenarios


def scenarios(keys: list[str], store: Store) -> list[str]:
    lines = ["## Scenarios on the tables of real machines", ""]
    lines.append(
        "`cpuhp check SCENARIO --order TABLE`: all claims of all checks. Safety claims are "
        "`always` and `never`. Here seconds are those on the wall, for claims that are "
        "proved together each one's share, and memory that of the largest process. A "
        "certificate's re-check reads the spec and the certificate anew; its seconds are "
        "the processor's."
    )

    def rows() -> Iterator[str]:
        for key in keys:
            found = store.get(key)
            if (trouble := problem(found)) or found is None:
                yield f"| {key} | {trouble} |" + " |" * 9
                continue
            claims = found["claims"]
            safety = [c for c in claims if c[2] == "always"]
            proved = [c for c in safety if c[3] == "PROVED" and c[4] == "all"]
            slow = max(claims, key=lambda c: c[5])
            again = [c[6] for c in claims if c[6]]
            worst = (
                seconds(max(a[s] for a in again)) if again else "-"
                for s in ("z3", "cvc5")
            )
            refused = sum(v < 0 for a in again for v in a.values())
            yield (
                f"| {key} | {len(claims)} | {len(proved)} of {len(safety)} | "
                f"{seconds(found['wall'])} | {seconds(found['used'])} | "
                f"{seconds(slow[5])} (`{slow[0]}`) | {mebibytes(found)} | {len(again)} | "
                f"{' | '.join(worst)} | {refused} |"
            )

    return [*lines, *table(
        "| scenario | claims | safety proved for all counts | all claims | processor "
        "| slowest claim | memory | certificates | slowest re-check, z3 | cvc5 | not accepted |", rows()),
        *slowest(keys, store)]  # fmt: skip


def slowest(keys: list[str], store: Store) -> list[str]:
    """The claims that took longest, and those that are not proved for all counts."""

    def rows() -> Iterator[str]:
        for key in keys:
            claims = store.get(key, {}).get("claims", [])
            for claim in sorted(claims, key=lambda c: -c[5])[:6]:
                name, _, kind, verdict, cpus, taken, again = claim
                solvers = " | ".join(seconds(again.get(s, "-")) for s in ("z3", "cvc5"))
                yield (
                    f"| {key} | `{name}`, {kind} | {verdict} cpus={cpus} | "
                    f"{seconds(taken)} | {solvers} |"
                )

    return table(
        "| the slowest claims | | verdict | took | re-check, z3 | cvc5 |", rows()
    )


# --- violations


def violations(keys: list[str], store: Store) -> list[str]:
    times, missed, waiting = [], [], 0
    for key in keys:
        found = store.get(key)
        if found is None:
            waiting += 1
            continue
        if problem(found):
            missed.append((key, str(problem(found)), "", 0.0))
        for name, verdict, cpus, taken in found.get("claims", ()):
            if verdict == "VIOLATED":
                times.append((taken, key, name, cpus))
            else:
                missed.append((key, name, f"{verdict} cpus={cpus}", taken))
    lines = ["## Counterexamples: mutants, options, bugs of the past (W12)", ""]
    if not times:
        return [*lines, f"{MISSING}.", ""]
    times.sort(reverse=True)
    middle = times[len(times) // 2][0]
    lines.append(
        f"{len(times)} violations in {len(keys) - waiting} variants: the median took "
        f"{seconds(middle)}, the slowest {seconds(times[0][0])}, "
        f"{sum(t[0] <= 5 for t in times)} of them at most 5 s."
        + (f" {waiting} variants are {MISSING}." if waiting else "")
    )
    lines += table(
        "| the slowest | check | CPUs | took |",
        (f"| {plain(k)} | `{n}` | {c} | {seconds(t)} |" for t, k, n, c in times[:8]),
    )
    lines += table(
        "| a header expects a violation | check | found | took |",
        (f"| {plain(k)} | `{n}` | {v} | {seconds(t)} |" for k, n, v, t in missed),
    )
    return lines


def plain(key: str) -> str:
    path, _, condition = key.partition(" ")
    name = path.rpartition("/")[2].removesuffix(".hp")
    return f"{name}, `{condition}`" if condition else name


# --- workloads


def workloads(keys: list[str], store: Store) -> list[str]:
    lines = [
        "## Workloads for every number of CPUs",
        "",
        "W1 is the three-phase shutdown with K local callbacks and one that hands over a "
        "context; W2 the same with a stale choice of the new owner. W11 is the literature. "
        "Szymanski's and Burns' algorithms rest on an order of the processes: any total "
        "one here. Where Szymanski's looks and what they decide are steps apart, no "
        "invariant about two processes at a time was found. FLASH is without the data.",
    ]

    def rows() -> Iterator[str]:
        for key in keys:
            found = store.get(key)
            if (trouble := problem(found)) or found is None:
                yield f"| {key} | {trouble} |" + " |" * 5
                continue
            again = found["again"]
            solvers = [again.get(s) for s in ("z3", "cvc5")]
            shown = (
                "rejected" if v is not None and v < 0 else seconds(v) if v else "-"
                for v in solvers
            )  # fmt: skip
            total = found["seconds"] + sum(v for v in solvers if v and v > 0)
            yield (
                f"| {key} | {found['verdict']} cpus={found['cpus']} | "
                f"{seconds(found['seconds'])} | {' | '.join(shown)} | {seconds(total)} | "
                f"{mebibytes(found)} |"
            )

    return [*lines, *table(
        "| workload | verdict | took | re-check, z3 | cvc5 | end to end | memory |", rows())]  # fmt: skip


def ladder(keys: list[str], store: Store) -> list[str]:
    lines = ["## The ladder (W9): a fixed number of CPUs", ""]
    lines.append("Our exhaustive search of W1 with K=3, on orbits of states.")

    def rows() -> Iterator[str]:
        for key in keys:
            found = store.get(key)
            if (trouble := problem(found)) or found is None:
                yield f"| {key} | {trouble} | | | |"
                continue
            yield (
                f"| {key} | {found['verdict']} | {found['states']:,} | "
                f"{seconds(found['seconds'])} | {mebibytes(found)} |"
            )

    return [*lines, *table("| | verdict | orbits | took | memory |", rows())]


def growth(keys: list[str], store: Store) -> list[str]:
    lines = [
        "## Growth",
        "",
        "A hand-over of a context under a lock, and so many steps beside it that set a bit "
        "of their CPU. They do not matter to `always owner != none && !dead[owner]`; they do "
        "if the claim asks for each bit, too.",
    ]

    def rows() -> Iterator[str]:
        for key in keys:
            found = store.get(key)
            if (trouble := problem(found)) or found is None:
                yield f"| {key} | {trouble} | | | |"
                continue
            yield (
                f"| {key} | {found['verdict']} cpus={found['cpus']} | "
                f"{seconds(found['loading'])} | {seconds(found['seconds'])} | "
                f"{mebibytes(found)} |"
            )

    return [*lines, *table("| | verdict | loading | the check | memory |", rows())]


# --- peers


def beside(names: tuple[str, ...], keys: list[str], store: Store) -> list[str]:
    counts = sorted({int(k.split()[-1]) for k in keys if k.split()[-1].isdigit()})
    lines = ["## Beside SPIN and Rumur", ""]
    for name in names:
        every = store.get(f"{name} all")
        lines += [f"### {name}", ""]
        if every is None:
            lines += [f"{MISSING}.", ""]
            continue
        lines.append(
            f"For all counts: {every['answer']}, {run(every)}; the same in each row."
        )
        lines += table(
            "| APs | ours, this count | SPIN | states | process-local | states | Rumur "
            "| states | compiling | SPIN : ours, all | Rumur : ours, all |",
            (row(name, aps, every, store) for aps in counts),
        )
    return lines


def few(keys: list[str], store: Store) -> list[str]:
    """The workloads for every number of CPUs, beside the peers at some numbers."""
    lines = [
        "### The other workloads",
        "",
        "A peer's limit of a run is 60 s here; beside its seconds are the states that it "
        "looked at. Ours are for every number of CPUs, and include reading the spec.",
    ]
    counts = sorted({int(key.split()[-1]) for key in keys})
    titles = dict.fromkeys(key.rsplit(" ", 2)[0] for key in keys)

    def cells(title: str) -> Iterator[str]:
        every = store.get(title)
        if (trouble := problem(every)) or every is None:
            yield str(trouble)
        else:
            yield f"{every['verdict']} cpus={every['cpus']}, {seconds(every['seconds'])}"
        for who in ("promela", "murphi"):
            for aps in counts:
                found = store.get(f"{title} {who} {aps}", {})
                if not found or str(found["answer"]).startswith(">"):
                    yield run(found)
                else:
                    yield f"{found['answer']}, {took(found):.2f} s, {states(found)}"

    named = [f"{who}, {aps} APs" for who in ("SPIN", "Rumur") for aps in counts]
    head = f"| workload | ours | {' | '.join(named)} |"
    return [*lines, *table(head, (f"| {t} | {' | '.join(cells(t))} |" for t in titles))]


def row(name: str, aps: int, every: dict[str, Any], store: Store) -> str:
    def at(who: str) -> dict[str, Any]:
        return store.get(f"{name} {who} {aps}", {})

    spin, local, rumur = at("promela"), at("local"), at("murphi")
    best = min((r for r in (spin, local) if r), key=took, default=spin)
    compiling = "/".join(f"{r['compiling']:.1f}" for r in (spin, local, rumur) if r)
    return (
        f"| {aps} | {run(at('here'))} | {run(spin)} | {states(spin)} | "
        f"{run(local) if local else '-'} | {states(local)} | {run(rumur)} | "
        f"{states(rumur)} | {compiling or '-'} s | {ratio(best, every)} | "
        f"{ratio(rumur, every)} |"
    )


def took(found: dict[str, Any]) -> float:
    """Seconds of the processor; of who was stopped by the clock, until then."""
    return float(found["processor"] or found["seconds"])


def run(found: dict[str, Any]) -> str:
    if not found:
        return MISSING
    if str(found["answer"]).startswith(">"):
        return str(found["answer"])
    return f"{took(found):.2f} s, {found['memory'] / 1024:.0f} MiB"


def states(found: dict[str, Any]) -> str:
    if not found or str(found["answer"]).startswith(">"):
        return "-"
    return f"{found['states']:,}"


def ratio(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    if not theirs or str(ours["answer"]).startswith(">") or not theirs.get("seconds"):
        return "-"
    sign = ">" if str(theirs["answer"]).startswith(">") else ""
    times = took(theirs) / max(took(ours), 0.001)
    return f"{sign}{times:,.0f}" if times >= 10 else f"{sign}{times:.2f}"
