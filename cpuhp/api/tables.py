"""Hotplug tables by name or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cpuhp.api.loading import load
from cpuhp.diagnostics import InputError
from cpuhp.kernel.tables.order import USUAL, read_order, shipped_order
from cpuhp.model.table import Table

if TYPE_CHECKING:
    from cpuhp.report.diagrams.figure import Diagram
    from cpuhp.report.display import HotplugTable

DEFAULT_TABLE = USUAL
ON_A_TABLE = "shutdown-three-phase"  # the scenario that tells what a table's rows do


def table(name: str | Path) -> HotplugTable:
    """A hotplug table: a shipped one by name, or a file.

    The file is in the format of /sys/devices/system/cpu/hotplug/states or of
    specs/tables. Raises InputError if it cannot be read.
    """
    from cpuhp.kernel.tables.states_file import shipped_tables
    from cpuhp.report.display import HotplugTable

    known = str(name) in shipped_tables()
    found = shipped_order(str(name)) if known else read_order(Path(name))
    return HotplugTable(found, _table_diagram)


def _table_diagram(found: Table, full: bool) -> Diagram:
    from cpuhp.report.diagrams.draw import on_table
    from cpuhp.report.diagrams.figure import Diagram

    try:
        whole = load(ON_A_TABLE, table=found).checker.whole
    except InputError:  # the scenario does not fit this kernel
        whole = None
    drawn = on_table(found, whole, full=full)
    return Diagram(drawn, drawn.title)
