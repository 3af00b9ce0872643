"""Views as text: why a proof was given up."""

from __future__ import annotations

from cpuhp.engines.parametric.views import View, Views
from cpuhp.model.invariant import FAR, Argument, Symbol, Value
from cpuhp.model.sorts import CounterSort, Sort, format_value


def view_text(views: Views, view: View) -> str:
    """What a view says, component by component."""
    return ", ".join(
        f"{_cell(part.variable, part.arguments)} == {_value(part.sort, value)}"
        for part, value in zip(views.layout, view)
        if value is not None
    )


def _cell(variable: str, arguments: tuple[Argument, ...]) -> str:
    names = (a.value if isinstance(a, Symbol) else str(a) for a in arguments)
    return variable + "".join(f"[{name}]" for name in names)


def _value(sort: Sort, value: Value) -> str:
    if isinstance(value, Symbol):
        return value.value
    if isinstance(sort, CounterSort):
        if value == FAR:
            return f"far from |{sort.mask}|"
        return f"|{sort.mask}|" + (f" {value:+d}" if value else "")
    return format_value(sort, value)
