"""From what files show to rows: states, sections, names and callbacks resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cpuhp.kernel.registrations.callbacks import Context, Known, callback
from cpuhp.kernel.registrations.facts import FileFacts, Site
from cpuhp.kernel.registrations.find import Caller, Wanted
from cpuhp.kernel.registrations.model import Callback, Row, Variant
from cpuhp.kernel.registrations.names import string_of
from cpuhp.kernel.registrations.state_enum import DYNAMIC, StaticEntry, section_of
from cpuhp.kernel.source.tree import CORE_FILE

_NAME = re.compile(r"[A-Za-z_]\w*")
_NULL = Callback("NULL", "null")
_MAX_VARIANTS = 64
_MAX_WRAPPING = 4


@dataclass(frozen=True)
class _Arguments:
    state: str
    name: str
    startup: str
    teardown: str
    multi: bool


def static_row(known: Known, values: Mapping[str, int], entry: StaticEntry) -> Row:
    """The row of one entry of the static table."""
    context = Context(CORE_FILE, None, (), entry.guards)
    fields = entry.fields
    name = string_of(known.files, CORE_FILE, None, fields.get("name", ""))
    startup = _callback_field(known, fields, "startup", context)
    teardown = _callback_field(known, fields, "teardown", context)
    number = values.get(entry.state)
    reasons = [] if name.value is not None else [f"name: {name.reason}"]
    reasons += _reasons(startup, teardown)
    if number is None:
        reasons.append(f"state: {entry.state} is not in enum cpuhp_state")
    return Row(
        file=CORE_FILE,
        line=entry.line,
        api="cpuhp_hp_states",
        kind="static",
        state=entry.state,
        number=number,
        section=section_of(number, values),
        dynamic=None,
        name=name.value,
        name_expression=fields.get("name", ""),
        startup=startup,
        teardown=teardown,
        function=None,
        guards=entry.guards,
        kbuild="",
        kbuild_complete=True,
        present=known.present(CORE_FILE, entry.guards),
        cant_stop=fields.get("cant_stop") == "true",
        unresolved=tuple(reasons),
    )


def _callback_field(
    known: Known, fields: Mapping[str, str], role: str, context: Context
) -> Callback:
    for suffix in (".single", ".multi"):
        if role + suffix in fields:
            return callback(known, fields[role + suffix], context)
    return _NULL


def call_row(
    known: Known, values: Mapping[str, int], facts: FileFacts, site: Site
) -> Row:
    """The row of one call site."""
    built = known.built(facts.path)
    guards = site.guards + site.runtime_guards
    arguments = _arguments(site)
    row = Row(
        file=facts.path,
        line=site.line,
        api=site.api,
        kind="multi" if arguments and arguments.multi else "single",
        state=None,
        number=None,
        section=None,
        dynamic=None,
        name=None,
        name_expression=arguments.name if arguments else "",
        startup=Callback("", "unresolved"),
        teardown=Callback("", "unresolved"),
        function=site.enclosing,
        guards=site.guards,
        runtime_guards=site.runtime_guards,
        kbuild=built.condition,
        kbuild_complete=built.complete,
        present=known.present(facts.path, guards),
        result=site.result,
        slot=site.slot,
        parser=site.parser,
    )
    if arguments is None:
        reason = site.note or (
            f"{site.api}() has {len(site.arguments)} arguments here, not "
            f"{6 if site.api.startswith('__') else 4}"
        )
        return replace(row, unresolved=(reason,))
    context = Context(facts.path, site.enclosing, site.parameters, guards)
    return _resolved(known, values, row, arguments, context)


def _arguments(site: Site) -> _Arguments | None:
    given = site.arguments
    if site.api.startswith("__"):
        if len(given) != 6:
            return None
        multi = given[5] in ("true", "1")
        return _Arguments(given[0], given[1], given[3], given[4], multi)
    if len(given) != 4:
        return None
    return _Arguments(*given, multi=site.api.endswith("_multi"))


def _resolved(
    known: Known,
    values: Mapping[str, int],
    row: Row,
    arguments: _Arguments,
    context: Context,
) -> Row:
    reasons: list[str] = []
    passed = [a for a in vars_of(arguments) if a in context.parameters]
    state = _state(known, values, arguments.state, context)
    if state is None and arguments.state not in passed:
        reasons.append(f"state: {arguments.state} is no constant of enum cpuhp_state")
    name = string_of(known.files, context.file, context.function, arguments.name)
    if name.value is None and arguments.name not in passed:
        reasons.append(f"name: {name.reason}")
    startup = callback(known, arguments.startup, context)
    teardown = callback(known, arguments.teardown, context)
    reasons += _reasons(startup, teardown)
    variants: tuple[Variant, ...] = ()
    if passed and context.function:
        variants = _variants(known, values, arguments, context, 0)
        if not variants and context.function in known.searched.callers:
            reasons.append(f"no call of the wrapper {context.function}() was found")
        if len(variants) >= _MAX_VARIANTS:
            reasons.append(
                f"the wrapper {context.function}() has {_MAX_VARIANTS} calls or more, "
                "and no more are looked at"
            )
        startup = _from_variants(startup, [v.startup for v in variants])
        teardown = _from_variants(teardown, [v.teardown for v in variants])
    return _placed(
        replace(
            row,
            name=name.value,
            startup=startup,
            teardown=teardown,
            variants=variants,
            unresolved=tuple(reasons),
        ),
        values,
        state,
    )


def _placed(row: Row, values: Mapping[str, int], state: str | None) -> Row:
    number = values.get(state) if state else None
    return replace(
        row,
        state=state,
        number=number,
        section=section_of(number, values),
        dynamic=state if state in DYNAMIC else None,
    )


def vars_of(arguments: _Arguments) -> tuple[str, str, str, str]:
    """The four expressions of a registration."""
    return (arguments.state, arguments.name, arguments.startup, arguments.teardown)


def _state(
    known: Known, values: Mapping[str, int], expression: str, context: Context
) -> str | None:
    text, depth = expression.strip("() "), 0
    while text not in values and depth < _MAX_WRAPPING and _NAME.fullmatch(text):
        macro = known.files.macro(context.file, text)
        if macro is None:
            return _assigned_state(known, values, text, context)
        text, depth = macro.body.strip("() "), depth + 1
    return text if text in values else None


def _assigned_state(
    known: Known, values: Mapping[str, int], name: str, context: Context
) -> str | None:
    """The one enumerator that a local variable is ever given."""
    parsed = known.files.parsed(context.file)
    if parsed is None:
        return None
    where = next((f for f in parsed.functions if f.name == context.function), None)
    if where is None or name in where.parameters:
        return None
    body = parsed.source.bare[where.start : where.end]
    given = re.findall(rf"(?<![\w.>]){re.escape(name)}\s*=(?!=)\s*([^;,]*)[;,]", body)
    found = {value.strip() for value in given} & values.keys()
    return found.pop() if len(found) == 1 else None


def _variants(
    known: Known,
    values: Mapping[str, int],
    arguments: _Arguments,
    context: Context,
    depth: int,
) -> tuple[Variant, ...]:
    wrapper = context.function or ""
    known.want(Wanted(callers=frozenset({wrapper})))
    found: list[Variant] = []
    for caller in dict.fromkeys(known.callers.get(wrapper, ())):
        if len(found) >= _MAX_VARIANTS:
            break
        if not _reaches(caller, context.file, known):
            continue
        inner = _substituted(arguments, context.parameters, caller.arguments)
        if inner is None:
            continue
        place = Context(caller.file, caller.enclosing, caller.parameters, caller.guards)
        again = [a for a in vars_of(inner) if a in caller.parameters]
        if again and depth < _MAX_WRAPPING:
            found += _variants(known, values, inner, place, depth + 1)
        else:
            found.append(_variant(known, values, inner, place, caller))
    return tuple(found)


def _reaches(caller: Caller, file: str, known: Known) -> bool:
    """False for a call of another file's static function of the same name."""
    if caller.file == file:
        return True
    own = known.defined_in(caller.file, caller.wrapper)
    return not any(d.kind == "function" for d in own)


def _substituted(
    arguments: _Arguments, parameters: tuple[str, ...], given: tuple[str, ...]
) -> _Arguments | None:
    if len(given) < len(parameters):
        return None
    by_name = dict(zip(parameters, given, strict=False))
    state, name, startup, teardown = (by_name.get(a, a) for a in vars_of(arguments))
    return _Arguments(state, name, startup, teardown, arguments.multi)


def _variant(
    known: Known,
    values: Mapping[str, int],
    arguments: _Arguments,
    context: Context,
    caller: Caller,
) -> Variant:
    meaning = string_of(known.files, context.file, context.function, arguments.name)
    return Variant(
        caller.file,
        caller.line,
        caller.enclosing,
        _state(known, values, arguments.state, context),
        meaning.value,
        callback(known, arguments.startup, context),
        callback(known, arguments.teardown, context),
        known.present(caller.file, caller.guards),
        caller.guards,
    )


def _from_variants(own: Callback, passed: list[Callback]) -> Callback:
    if own.kind != "parameter":
        return own
    names = dict.fromkeys(
        name for c in passed for name in ((c.function,) if c.function else c.candidates)
    )
    places = [d for c in passed if c.definition for d in (c.definition,)]
    return replace(
        own,
        candidates=tuple(names),
        function=next(iter(names)) if len(names) == 1 and len(passed) == 1 else None,
        definition=places[0] if places else None,
        alternatives=tuple(places[1:]),
    )


def _reasons(startup: Callback, teardown: Callback) -> list[str]:
    return [
        f"{role}: {found.reason}"
        for role, found in (("startup", startup), ("teardown", teardown))
        if found.kind == "unresolved" and found.reason
    ]
