"""`cpuhp lint`: callbacks that are unsafe when CPUs go down as a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cpuhp.cli._hazards import check_models
from cpuhp.kernel.source.tree import shown as printed
from cpuhp.report.hazards import (
    ascii_only,
    at,
    finding_json,
    missed,
    model_json,
    told_models,
)

if TYPE_CHECKING:
    from cpuhp.kernel.hazards.lint import Explanation, Lint
    from cpuhp.kernel.hazards.rules import Finding
    from cpuhp.report.answers import ShownAnswer

FORMS = ("text", "json", "sarif", "mail")
WRAP = 72
UNREAD = 20  # callbacks that could not be looked at, shown as text

GROUP = "kernel"


@click.command(
    "lint",
    short_help="Find callbacks that are unsafe when CPUs go down as a batch.",
    epilog="Exit status: 0 no error found, 1 at least one, 2 the input is not usable.",
)
@click.argument("tree", metavar="TREE", type=click.Path())
@click.option("--arch", metavar="ARCH", help="Architecture; others are left aside.")
@click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="Kernel configuration that decides what is built. Default: .config in TREE.",
)
@click.option("--depth", type=click.IntRange(0, 20), default=5, metavar="N",
              help="Calls to follow from a callback; default 5.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMS), default="text",
              help="Default text; mail is plain text for a reply.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Also show notes.")
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="RULE",
    help="Only this rule (docs/lint.md); repeatable.",
)
@click.option(
    "--models/--no-models",
    default=True,
    help="Check a small model of each finding and show the interleaving.",
)
@click.option(
    "--cache/--no-cache", default=True, help="Keep the result for an unchanged tree."
)
@click.option(
    "--explain",
    metavar="FILE",
    help="Show what was followed from the callbacks of FILE, and what was decided.",
)
def command(
    tree: str,
    arch: str | None,
    config: str | None,
    depth: int,
    form: str,
    everything: bool,
    rules: tuple[str, ...],
    models: bool,
    cache: bool,
    explain: str | None,
) -> None:
    """Follow every hotplug callback registered in TREE and report hazards.

    A finding says what it is, where, how the callback gets there and why that is
    unsafe once callbacks of several CPUs run at the same time.
    """
    from cpuhp.diagnostics import fail, suggestion
    from cpuhp.kernel.hazards.rules import BY_ID

    for rule in rules:
        if rule not in BY_ID:
            known = ", ".join(BY_ID)
            hint = suggestion(rule, BY_ID) or f"there are {known}"
            raise fail("HP630", f"there is no rule '{rule}'", help=hint)
    found = _linted(tree, arch, config, depth, cache)
    if explain is not None:
        _explain(found, explain, form)
        return
    shown = [
        f
        for f in found.findings
        if (everything or f.level != "note") and (not rules or f.rule in rules)
    ]
    answers = check_models(shown) if models else {}
    forms = {"text": _text, "json": _json, "sarif": _sarif, "mail": _mail}
    forms[form](found, shown, answers)
    raise SystemExit(any(f.level == "error" for f in shown))


def _linted(
    tree: str, arch: str | None, config: str | None, depth: int, cache: bool
) -> Lint:
    import os
    from pathlib import Path

    from cpuhp.cli.extract import progress
    from cpuhp.kernel.hazards.cache import (
        WORTH,
        fingerprint,
        load,
        settings_key,
        store,
    )
    from cpuhp.kernel.hazards.lint import lint
    from cpuhp.kernel.source.tree import open_tree

    opened = open_tree(tree)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base) / "cpuhp"
    root = opened.root
    if not cache or root == folder.resolve() or root in folder.resolve().parents:
        return lint(tree, arch=arch, config=config, depth=depth, progress=progress())
    settings = settings_key(arch, config, depth)
    kept = load(opened, folder, settings)
    if kept is not None:
        return kept
    before = fingerprint(opened)
    found = lint(tree, arch=arch, config=config, depth=depth, progress=progress())
    if found.extraction.files_scanned >= WORTH:
        store(opened, folder, settings, found, before)
    return found


def _text(found: Lint, shown: list[Finding], answers: dict[str, ShownAnswer]) -> None:
    from cpuhp.cli.extract import print_notes

    for finding in shown:
        click.echo(
            f"{at(finding)}: {finding.level}: {finding.message} [{finding.rule}]"
        )
        click.echo(f"  {finding.role} of {finding.state} {finding.name!r}")
        for place in finding.chain:
            click.echo(f"    {place.function} {printed(place.file)}:{place.line}")
    _why(shown)
    click.echo("".join(f"{line}\n" for line in told_models(shown, answers)), nl=False)
    levels = {"error": 0, "warning": 0, "note": 0}
    for finding in found.findings:
        levels[finding.level] += 1
    click.echo(
        f"{found.callbacks} callbacks, {found.functions} functions followed to depth "
        f"{found.depth}: {levels['error']} errors, {levels['warning']} warnings, "
        f"{levels['note']} notes"
    )
    for unread in found.unread[:UNREAD]:
        click.echo(f"note: {printed(str(unread))}")
    if len(found.unread) > UNREAD:
        click.echo(f"note: and {len(found.unread) - UNREAD} more were not looked at")
    print_notes(found.extraction)


def _why(shown: list[Finding]) -> None:
    from cpuhp.kernel.hazards.rules import RULES

    seen = {finding.rule for finding in shown}
    for rule in RULES:
        if rule.id in seen:
            click.echo(f"{rule.id}: {rule.title}. {rule.why}")


def _mail(found: Lint, shown: list[Finding], answers: dict[str, ShownAnswer]) -> None:
    """Plain text of 72 columns, as kernel lists want it."""
    from textwrap import wrap

    from cpuhp.kernel.hazards.rules import RULES

    def filled(text: str, lead: str = "") -> list[str]:
        return wrap(text, WRAP, initial_indent=lead, subsequent_indent=lead)

    version = found.extraction.version
    lines = [f"Linux {version}, {found.callbacks} hotplug callbacks:"]
    for rule in RULES:
        own = [finding for finding in shown if finding.rule == rule.id]
        if own:
            lines += ["", *filled(rule.title), "", *filled(rule.why)]
        for finding in own:
            text = f"{finding.message}, in the {finding.role} of {finding.state}"
            lines += ["", f"  {at(finding)}", *filled(text, "    ")]
            if len(finding.chain) > 1:
                ways = " -> ".join(f"{p.function}()" for p in finding.chain)
                lines += filled(ways, "    ")
    for unread in found.unread[:UNREAD]:
        lines += ["", *filled(printed(str(unread)))]
    lines += ["", *told_models(shown, answers)]
    click.echo("".join(f"{ascii_only(line)}\n" for line in lines), nl=False)


def _json(found: Lint, shown: list[Finding], answers: dict[str, ShownAnswer]) -> None:
    import json

    from cpuhp.kernel.hazards.rules import RULES

    data = {
        "format": "cpuhp-lint",
        "version": 1,
        "kernel": found.extraction.version,
        "callbacks": found.callbacks,
        "functions": found.functions,
        "depth": found.depth,
        "unread": [printed(str(unread)) for unread in found.unread],
        "notes": [
            {"file": printed(n.file), "message": n.message}
            for n in found.extraction.notes
        ],
        "rules": {rule.id: {"title": rule.title, "why": rule.why} for rule in RULES},
        "findings": [
            {**finding_json(f), "model": model_json(f, answers)} for f in shown
        ],
    }
    click.echo(json.dumps(data, indent=1))


def _sarif(found: Lint, shown: list[Finding], answers: dict[str, ShownAnswer]) -> None:
    import json

    from cpuhp.kernel.hazards.rules import RULES
    from cpuhp.report import sarif

    order = {rule.id: at for at, rule in enumerate(RULES)}
    rules = [sarif.rule(rule.id, rule.title, rule.why) for rule in RULES]
    results = [
        {
            **_result(f, order[f.rule]),
            "properties": {"model": model_json(f, answers)},
        }
        for f in shown
    ]
    click.echo(json.dumps(sarif.log(rules, results, missed(found)), indent=1))


def _result(finding: Finding, index: int) -> dict[str, Any]:
    from cpuhp.report.sarif import location

    chain = [
        {"location": location(printed(p.file), p.line, p.function)}
        for p in finding.chain
    ]
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.level,
        "message": {"text": f"{finding.message} ({finding.role} of {finding.state})"},
        "locations": [location(printed(finding.file), finding.line)],
        "codeFlows": [{"threadFlows": [{"locations": chain}]}],
        "partialFingerprints": {
            "callback/v1": f"{finding.rule}:{finding.chain[0].function}:{finding.state}"
        },
    }


def _explain(found: Lint, file: str, form: str) -> None:
    import json
    from dataclasses import asdict

    from cpuhp.diagnostics import fail, suggestion
    from cpuhp.kernel.hazards.lint import explain

    answer = explain(found, file)
    if not answer:
        known = sorted({row.file for row in found.extraction.rows})
        raise fail(
            "HP631",
            f"'{printed(file)}' registers and defines no hotplug callback",
            help=suggestion(file, known),
        )
    if form == "json":
        click.echo(json.dumps([asdict(part) for part in answer], indent=1))
        return
    for part in answer:
        click.echo("".join(f"{printed(line)}\n" for line in _explained(part)), nl=False)


def _explained(part: Explanation) -> list[str]:
    """The lines for one callback: what was followed, what it does, what was found."""
    told = part.summary
    lists = {
        "followed": part.reached,
        "choices of a CPU": part.choices,
        "writes": (", ".join(told.writes),) if told.writes else (),
        "reads": (", ".join(told.reads),) if told.reads else (),
        "takes locks": told.locks,
        "waits": told.waits,
        "asks who is left": told.asks,
        "claims": told.claims,
        "calls through pointers, not followed": told.unfollowed,
    }
    lines = [f"{part.role} {part.callback} of {part.state} {part.name!r}"]
    lines.append(f"  {told.returns}")
    for title, entries in lists.items():
        if entries:
            lines += [f"  {title}:", *(f"    {entry}" for entry in entries)]
    if not part.choices:
        lines.append("  chooses no CPU")
    lines += [f"  {f.level}: {f.message} [{f.rule}]" for f in part.findings]
    return lines if part.findings else [*lines, "  nothing to report"]
