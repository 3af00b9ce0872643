"""Solvers that read SMT-LIB 2 text. What they answer is all that is used of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from importlib.util import find_spec

from cpuhp.diagnostics import fail, suggestion

UNSAT, SAT, UNKNOWN = "unsat", "sat", "unknown"


class Solver(ABC):
    """One running solver; `name` and `version` go into reports."""

    name: str
    version: str

    @abstractmethod
    def tell(self, text: str) -> None:
        """Run commands that answer nothing."""

    @abstractmethod
    def ask(self, text: str) -> str:
        """Run commands with one `check-sat`; UNSAT, SAT or UNKNOWN."""


class Z3(Solver):
    name = "z3"

    def __init__(self, milliseconds: int):
        import z3

        self._evaluate = z3.Z3_eval_smtlib2_string
        self._error = z3.Z3Exception
        self._context = z3.Context()
        self.version = z3.get_version_string()
        self.tell(f"(set-option :timeout {milliseconds})")

    def _run(self, text: str) -> list[str]:
        try:
            output: str = self._evaluate(self._context.ref(), text)
        except self._error as error:  # so it says when time is over
            return [f"unknown ({error})"]
        return output.split("\n")

    def tell(self, text: str) -> None:
        _refuse(self.name, [line for line in self._run(text) if line.strip()])

    def ask(self, text: str) -> str:
        return _answer(self.name, self._run(text))


class Cvc5(Solver):
    name = "cvc5"

    def __init__(self, milliseconds: int):
        import cvc5

        self._cvc5 = cvc5
        self._solver = cvc5.Solver(cvc5.TermManager())
        self.version = cvc5.__version__
        self._solver.setOption("incremental", "true")
        self._solver.setOption("sat-solver", "cadical")
        self._solver.setOption("static-learning", "false")
        self._solver.setOption("tlimit-per", str(milliseconds))
        # Instantiate with the terms at hand when pattern matching finds no more.
        self._solver.setOption("enum-inst", "true")
        self._parser = cvc5.InputParser(self._solver)

    def _run(self, text: str) -> list[str]:
        language = self._cvc5.InputLanguage.SMT_LIB_2_6
        self._parser.setStringInput(language, text, "certificate")
        symbols = self._parser.getSymbolManager()
        found = []
        try:
            while not (command := self._parser.nextCommand()).isNull():
                output = str(command.invoke(self._solver, symbols)).strip()
                if output:
                    found.append(output)
        except RuntimeError as error:  # text that it does not take
            return [f"({error})"]
        return found

    def tell(self, text: str) -> None:
        _refuse(self.name, self._run(text))

    def ask(self, text: str) -> str:
        return _answer(self.name, self._run(text))


SOLVERS: dict[str, type[Z3 | Cvc5]] = {"z3": Z3, "cvc5": Cvc5}


class SolverError(Exception):
    """A solver did not take the text: out of time or memory, or an error of ours."""


def _refuse(name: str, output: list[str]) -> None:
    if output:
        raise SolverError(f"{name}: {output[0]}")


def _answer(name: str, output: list[str]) -> str:
    lines = [line.strip() for line in output if line.strip()]
    if len(lines) == 1 and re.match(r"(unsat|sat|unknown|timeout)\b", lines[0]):
        return lines[0] if lines[0] in (UNSAT, SAT) else UNKNOWN
    raise SolverError(f"{name}: {lines[0] if lines else 'no answer'}")


def present() -> list[str]:
    """Names of the solvers that are installed."""
    return [name for name in SOLVERS if find_spec(name) is not None]


def start(name: str, milliseconds: int) -> Solver:
    """A fresh solver. Raises InputError HP708 if it is not installed or not known."""
    if name not in SOLVERS:
        known = ", ".join(SOLVERS)
        raise fail("HP708", f"there is no solver '{name}'",
                   help=suggestion(name, SOLVERS) or f"one of: {known}")  # fmt: skip
    if find_spec(name) is None:
        package = {"z3": "z3-solver"}.get(name, name)
        raise fail("HP708", f"the solver {name} is not installed",
                   help=f"pip install {package}, or take --solver "
                        f"{' or '.join(present()) or 'z3'}")  # fmt: skip
    return SOLVERS[name](milliseconds)
