"""Text to syntax tree. Bounded: a text of any size or depth ends in a tree or an error."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer, Tree, v_args
from lark.exceptions import (
    UnexpectedCharacters,
    UnexpectedEOF,
    UnexpectedToken,
    VisitError,
)

from cpuhp.diagnostics import InputError, Source, Span, fail
from cpuhp.language import tree as t
from cpuhp.language.idioms import meant_by_character, meant_by_statement

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 200  # levels of the syntax tree
MAX_DIGITS = 9

_FRIENDLY = {
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a quoted string",
    "$END": "the end of the file",
    "LPAR": "'('",
    "RPAR": "')'",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "LSQB": "'['",
    "RSQB": "']'",
    "SEMICOLON": "';'",
    "COMMA": "','",
    "COLON": "':'",
    "EQUAL": "'='",
    "VERDICT": "a verdict (PROVED, VIOLATED, ...)",
    "COMPARE": "a comparison",
    "QUESTION": "'?'",
    "DIRECTION": "'startup', 'teardown'",
    "KIND": "'process', 'service', 'environment', 'interrupt'",
    "CLAIM": "'always', 'never', 'sometimes', 'finally'",
    "SYSTEM_CLAIM": "'deadlock_free', 'inversion_free', 'race_free', 'terminates'",
    "FAILS": "'fails'",
    "VOID": "'void'",
}


_EXPRESSION = {"NAME", "NUMBER", "LPAR", "NOT", "TILDE", "MINUS", "LBRACE"}
_STATEMENT = {
    "ATOMIC", "BREAK", "CONTINUE", "EITHER", "FOR", "FORALL", "IF", "RETURN", "WAIT",
    "WHILE", "SEMICOLON", "INT", "COUNTER",
}  # fmt: skip
_OPERATORS = set("a comparison,'+','|','&','?','[','=>','||','&&','++','--'".split(","))
_GROUPS = (
    ({"IF", "WHILE", "RETURN"}, "a statement"),
    ({"NAME", "NUMBER", "NOT"}, "an expression"),
    ({"USE", "ENUM", "SHARED"}, "a declaration"),
)
_KEYWORDS = (
    "component scenario source use table register expect when enum option instances "
    "assume shared percpu per const counter void startup teardown for fails process "
    "service environment interrupt on check requires always never sometimes finally "
    "deadlock_free inversion_free race_free terminates leads to if else while forall "
    "either or return break continue atomic auxiliary wait PROVED VIOLATED WITNESSED "
    "UNREACHABLE UNKNOWN"
).split()
_CLAIMS = (
    "a claim is `always E;` never, sometimes, finally, `E leads to F;`, "
    "`deadlock_free;`, `inversion_free;`, `race_free;` or `terminates;`"
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_BRACES = re.compile(r'//[^\n]*|/\*.*?\*/|"[^"\n]*"|[{}]', re.DOTALL)


def parse(source: Source) -> t.Unit:
    """The syntax tree of a file.

    Raises InputError: HP101 too large, HP102 nested too deeply, HP103 a character
    that the language does not know, HP104 a word in a place where it cannot stand.
    """
    if len(source.text) > MAX_CHARACTERS:
        raise fail(
            "HP101",
            f"the file has more than {MAX_CHARACTERS:,} characters",
            Span(source, 0, 1),
            help="a spec is one subject; split it into files and join them with 'use'",
        )
    try:
        tree = _lark().parse(source.text)
    except UnexpectedCharacters as error:
        raise _unknown_character(source, error.pos_in_stream or 0) from None
    except (UnexpectedToken, UnexpectedEOF) as error:
        raise _unexpected(source, error) from None
    _check_depth(source, tree)
    try:
        unit = _Builder(source).transform(tree)
    except VisitError as error:
        if isinstance(error.orig_exc, InputError):
            raise error.orig_exc from None
        raise
    assert isinstance(unit, t.Unit)
    return unit


@cache
def _lark() -> Lark:
    grammar = files("cpuhp.language").joinpath("grammar.lark").read_text()
    return Lark(
        grammar, parser="lalr", maybe_placeholders=True, propagate_positions=True
    )


def _check_depth(source: Source, tree: Tree[Token]) -> None:
    # The parser itself keeps a stack of its own; what follows it is recursive.
    level: list[Tree[Token]] = [tree]
    for _ in range(MAX_DEPTH):
        level = [c for node in level for c in node.children if isinstance(c, Tree)]
        if not level:
            return
    start = getattr(level[0].meta, "start_pos", 0)
    raise _too_deep(Span(source, start, start + 1))


def _too_deep(span: Span) -> InputError:
    return fail(
        "HP102",
        "nested too deeply",
        span,
        help="name a part of it: a function, or a formula `bool f(cpu c) = ...;`",
    )


def _unknown_character(source: Source, offset: int) -> InputError:
    char = source.text[offset]
    shown = char if char.isprintable() else f"\\x{ord(char):02x}"
    return fail(
        "HP103",
        f"the language has no character '{shown}'",
        Span(source, offset, offset + 1),
        help="a string ends on its own line"
        if char == '"'
        else meant_by_character(char),
    )


def _unexpected(source: Source, error: UnexpectedToken | UnexpectedEOF) -> InputError:
    token = getattr(error, "token", None)
    expected = set(getattr(error, "accepts", None) or error.expected)
    help_text = _CLAIMS if "LEADS" in expected else _expected(expected)
    if token is None or token.type == "$END":
        end = len(source.text.rstrip())
        span = Span(source, max(0, end - 1), end)
        opened = _unclosed(source)
        notes = (("this '{' is not closed", opened),) if opened else ()
        return fail(
            "HP104", "the file ends too early", span, notes=notes, help=help_text
        )
    start = token.start_pos or 0
    span = Span(source, start, start + len(token))
    line_start = source.text.rfind("\n", 0, start) + 1
    for word in _WORD.findall(source.text[line_start : span.end])[-4:]:
        close = get_close_matches(word, _KEYWORDS, n=1, cutoff=0.8)
        if close and word not in _KEYWORDS:
            help_text = f"did you mean '{close[0]}' instead of '{word}'?"
    before = source.text[max(0, start - 200) : span.end].rstrip("{;")
    help_text = meant_by_statement(before) or help_text
    return fail("HP104", f"'{token}' cannot stand here", span, help=help_text)


def _expected(terminals: set[str]) -> str | None:
    """What could stand there instead, in a few words."""
    words: list[str] = []
    for group, word in _GROUPS:
        if group <= terminals:
            terminals = terminals - group
            words.append(word)
            if word == "a statement":
                terminals -= _STATEMENT
            if word in ("a statement", "an expression"):
                terminals -= _EXPRESSION
    rest = {_friendly(name) for name in terminals}
    words += sorted(rest - _OPERATORS)
    if rest & _OPERATORS:
        words.append("an operator")
    listed = ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
    return f"expected {listed}" if words else None


def _unclosed(source: Source) -> Span | None:
    """The last '{' that has no '}'."""
    opened: list[int] = []
    for found in _BRACES.finditer(source.text):
        if found.group() == "{":
            opened.append(found.start())
        elif found.group() == "}" and opened:
            opened.pop()
    return Span(source, opened[-1], opened[-1] + 1) if opened else None


def _friendly(terminal: str) -> str:
    if terminal in _FRIENDLY:
        return _FRIENDLY[terminal]
    for definition in _lark().terminals:
        if definition.name == terminal:
            pattern = definition.pattern
            if pattern.type == "str":
                return f"'{pattern.value}'"
    return terminal.lower().replace("_", " ")


def _unquote(token: Token | None) -> str | None:
    return None if token is None else str(token)[1:-1]


@v_args(inline=True, meta=True)
class _Builder(Transformer[Token, Any]):
    """Builds nodes; each method takes the place in the text and the parts."""

    def __init__(self, source: Source):
        super().__init__()
        self._source = source

    def _span(self, meta: Any) -> Span:
        if getattr(meta, "empty", True):
            return Span(self._source, 0, 0)
        return Span(self._source, meta.start_pos, meta.end_pos)

    def _doc(self, span: Span) -> str:
        """The `///` lines that stand directly above."""
        lines: list[str] = []
        number = span.line - 1
        while number >= 1:
            line = self._source.line(number).strip()
            if not line.startswith("///"):
                break
            lines.append(line[3:].strip())
            number -= 1
        return "\n".join(reversed(lines))

    # -- file --------------------------------------------------------------

    def start(self, meta: Any, *parts: Any) -> t.Unit:
        items = [part for part in parts if part is not None]
        kind, name, source, doc = "", "", None, ""
        span = Span(self._source, 0, min(1, len(self._source.text)))
        if items and isinstance(items[0], tuple):
            kind, name, source, doc, span = items.pop(0)
        return t.Unit(kind, name, source, tuple(items), doc, span)

    def component(self, meta: Any, name: Token, source: str | None) -> Any:
        return self._header("component", meta, name, source)

    def scenario(self, meta: Any, name: Token, source: str | None) -> Any:
        return self._header("scenario", meta, name, source)

    def _header(self, kind: str, meta: Any, name: Token, source: str | None) -> Any:
        span = self._span(meta)
        return kind, str(name), source, self._doc(span), span

    def source(self, meta: Any, text: Token) -> str | None:
        return _unquote(text)

    # -- declarations ------------------------------------------------------

    def _name(self, token: Token) -> t.Name:
        start = token.start_pos or 0
        return t.Name(str(token), Span(self._source, start, start + len(token)))

    def use(self, meta: Any, *names: Token) -> t.Use:
        return t.Use(tuple(self._name(n) for n in names), self._span(meta))

    def table(self, meta: Any, name: Token) -> t.TableName:
        return t.TableName(str(name)[1:-1], self._span(meta))

    def register(self, meta: Any, name: Token) -> t.Register:
        return t.Register(str(name)[1:-1], self._span(meta))

    def expect(self, meta: Any, check: Token, verdict: Token, when: Any) -> t.Expect:
        return t.Expect(str(check), str(verdict), when, self._span(meta))

    def enum(self, meta: Any, name: Token, *values: Token | None) -> Any:
        names = tuple(str(v) for v in values if v is not None)
        return t.EnumDeclaration(str(name), names, self._span(meta))

    def option(self, meta: Any, type_: Any, name: Token, value: Any) -> Any:
        span = self._span(meta)
        return t.OptionDeclaration(type_, str(name), value, self._doc(span), span)

    def instances(self, meta: Any, name: Token, count: Token) -> t.Instances:
        return t.Instances(str(name), self._integer(count), self._span(meta))

    def assume(self, meta: Any, condition: Any) -> t.Assume:
        return t.Assume(condition, self._span(meta))

    def shared(self, meta: Any) -> Any:
        return "shared", False

    def percpu(self, meta: Any) -> Any:
        return "cpu", False

    def per(self, meta: Any, sort: Token) -> Any:
        return str(sort), False

    def const_shared(self, meta: Any) -> Any:
        return "shared", True

    def const_percpu(self, meta: Any) -> Any:
        return "cpu", True

    def const_per(self, meta: Any, sort: Token) -> Any:
        return str(sort), True

    def variable(
        self, meta: Any, scope: Any, access: Any, type_: Any, name: Token, value: Any
    ) -> Any:
        span = self._span(meta)
        where, constant = scope or ("shared", False)
        doc = self._doc(span)
        return t.VariableDeclaration(
            where, constant, type_, str(name), value, doc, span,
            atomic=access is not None, auxiliary=access == "auxiliary",
        )  # fmt: skip

    def atomic_access(self, meta: Any) -> str:
        return "atomic"

    def auxiliary_access(self, meta: Any) -> str:
        return "auxiliary"

    def _integer(self, digits: Token) -> int:
        if len(digits) > MAX_DIGITS:
            raise fail("HP107", "the number is too large", self._name(digits).span)
        return int(digits)

    def named_type(self, meta: Any, name: Token, nullable: Token | None) -> t.NamedType:
        return t.NamedType(str(name), nullable is not None, self._span(meta))

    def range_type(self, meta: Any, low: Token, high: Token) -> t.RangeType:
        return t.RangeType(self._integer(low), self._integer(high), self._span(meta))

    def counter_type(self, meta: Any, mask: Token) -> t.CounterType:
        return t.CounterType(str(mask), self._span(meta))

    def param(self, meta: Any, type_: t.Type, name: Token) -> t.Parameter:
        return t.Parameter(type_, str(name), self._span(meta))

    def params(self, meta: Any, *params: t.Parameter) -> tuple[t.Parameter, ...]:
        return params

    def function(
        self, meta: Any, result: Any, name: Token, params: Any, body: Any
    ) -> Any:
        span = self._span(meta)
        doc = self._doc(span)
        result = None if isinstance(result, Token) else result
        return t.Function(str(name), params or (), result, body, None, doc, span)

    def formula(
        self, meta: Any, result: Any, name: Token, params: Any, value: Any
    ) -> Any:
        span = self._span(meta)
        doc = self._doc(span)
        result = None if isinstance(result, Token) else result
        return t.Function(str(name), params or (), result, None, value, doc, span)

    def callback(self, meta: Any, *parts: Any) -> t.Callback:
        direction, name, param, state, fails, source, body = parts
        span = self._span(meta)
        key = str(state)[1:-1] if state.type == "STRING" else str(state)
        return t.Callback(
            str(direction), str(name), str(param), key, fails is not None, source,
            body, self._doc(span), span,
        )  # fmt: skip

    def process(self, meta: Any, kind: Token, name: Token, *rest: Any) -> Any:
        param, on, when, body = rest
        span = self._span(meta)
        return t.ProcessDeclaration(
            str(kind), str(name), param and str(param), on and str(on), when, body,
            self._doc(span), span,
        )  # fmt: skip

    def check(self, meta: Any, name: Token, *parts: Any) -> t.CheckDeclaration:
        span = self._span(meta)
        requires = tuple(self._name(p) for p in parts if isinstance(p, Token))
        claims = tuple(p for p in parts if isinstance(p, t.Claim))
        return t.CheckDeclaration(str(name), requires, claims, self._doc(span), span)

    def formula_claim(self, meta: Any, kind: Token, formula: Any) -> t.Claim:
        return t.Claim(str(kind), formula, None, self._span(meta))

    def system_claim(self, meta: Any, kind: Token) -> t.Claim:
        return t.Claim(str(kind), None, None, self._span(meta))

    def leads_to_claim(self, meta: Any, trigger: Any, goal: Any) -> t.Claim:
        return t.Claim("leads_to", trigger, goal, self._span(meta))

    # -- statements --------------------------------------------------------

    def block(self, meta: Any, *statements: Any) -> t.Block:
        kept = tuple(s for s in statements if s is not None)
        return t.Block(kept, self._span(meta))

    def declare(self, meta: Any, type_: Any, name: Token, value: Any) -> t.Declare:
        return t.Declare(type_, str(name), value, self._span(meta))

    def assign(self, meta: Any, target: Any, value: Any) -> t.AssignTo:
        return t.AssignTo(target, value, self._span(meta))

    def increment(self, meta: Any, target: Any) -> t.AssignTo:
        return self._step("+", meta, target)

    def decrement(self, meta: Any, target: Any) -> t.AssignTo:
        return self._step("-", meta, target)

    def _step(self, op: str, meta: Any, target: Any) -> t.AssignTo:
        span = self._span(meta)
        value = t.Binary(op, target, t.Number(1, span), span)
        return t.AssignTo(target, value, span)

    def if_(self, meta: Any, condition: Any, then: Any, otherwise: Any) -> Any:
        span = self._span(meta)
        empty = t.Block((), span)
        node = t.If(condition, then or empty, otherwise, span)
        return node

    def while_(self, meta: Any, condition: Any, body: Any) -> Any:
        span = self._span(meta)
        return t.While(condition, body or t.Block((), span), span)

    def forever(self, meta: Any, body: Any) -> Any:
        span = self._span(meta)
        return t.While(None, body or t.Block((), span), span)

    def for_each(self, meta: Any, among: Any, filter_: Any, body: Any) -> Any:
        return self._loop(meta, among, filter_, body, at_once=False)

    def for_all(self, meta: Any, among: Any, filter_: Any, body: Any) -> Any:
        return self._loop(meta, among, filter_, body, at_once=True)

    def _loop(
        self, meta: Any, among: Any, filter_: Any, body: Any, at_once: bool
    ) -> Any:
        span = self._span(meta)
        if not (
            isinstance(among, t.Binary)
            and among.op == "in"
            and isinstance(among.left, t.Name)
        ):
            raise fail(
                "HP105",
                "a loop names its variable and a set",
                among.span,
                help="for (c in online : c != cpu) ...",
            )
        node = t.ForEach(
            among.left.name, among.right, filter_, body or t.Block((), span),
            at_once, span,
        )  # fmt: skip
        return node

    def either(self, meta: Any, *branches: t.Block) -> Any:
        return t.Either(branches, self._span(meta))

    def return_(self, meta: Any, value: Any) -> t.Return:
        return t.Return(value, self._span(meta))

    def break_(self, meta: Any) -> t.Jump:
        return t.Jump("break", self._span(meta))

    def continue_(self, meta: Any) -> t.Jump:
        return t.Jump("continue", self._span(meta))

    def atomic(self, meta: Any, body: t.Block) -> Any:
        return t.Atomic(body, self._span(meta))

    def wait(self, meta: Any, condition: Any) -> t.Wait:
        return t.Wait(condition, self._span(meta))

    def call_statement(self, meta: Any, call: Any) -> t.CallStatement:
        if not isinstance(call, t.Call):
            raise fail(
                "HP106",
                "an expression alone does nothing",
                call.span,
                help="assign it, wait for it, or call a function",
            )
        return t.CallStatement(call, self._span(meta))

    def label(self, meta: Any, name: Token, body: Any) -> Any:
        span = self._span(meta)
        node = t.Label(str(name), body or t.Block((), span), span)
        return node

    def empty(self, meta: Any) -> None:
        return None

    # -- expressions -------------------------------------------------------

    def name(self, meta: Any, name: Token) -> t.Name:
        return t.Name(str(name), self._span(meta))

    def number(self, meta: Any, digits: Token) -> t.Number:
        return t.Number(self._integer(digits), self._span(meta))

    def arguments(self, meta: Any, *args: Any) -> tuple[Any, ...]:
        return args

    def call(self, meta: Any, name: Token, args: Any) -> Any:
        args = args or ()
        return t.Call(str(name), args, None, self._span(meta))

    def filtered_call(self, meta: Any, name: Token, among: Any, filter_: Any) -> Any:
        node = t.Call(str(name), (among,), filter_, self._span(meta))
        return node

    def singleton(self, meta: Any, element: Any) -> Any:
        return t.Singleton(element, self._span(meta))

    def index(self, meta: Any, base: Any, index: Any) -> Any:
        return t.Index(base, index, self._span(meta))

    def unary(self, meta: Any, op: Token, arg: Any) -> Any:
        return t.Unary(str(op), arg, self._span(meta))

    def _binary(self, op: str, left: Any, right: Any) -> Any:
        span = Span(self._source, left.span.start, right.span.end)
        return t.Binary(op, left, right, span)

    def _chain(self, op: str, args: tuple[Any, ...]) -> Any:
        # Balanced, so that a long row of conjuncts is not a deep tree.
        if len(args) == 1:
            return args[0]
        middle = len(args) // 2
        left, right = self._chain(op, args[:middle]), self._chain(op, args[middle:])
        return self._binary(op, left, right)

    def disjunction(self, meta: Any, *args: Any) -> Any:
        return self._chain("||", args)

    def conjunction(self, meta: Any, *args: Any) -> Any:
        return self._chain("&&", args)

    def union(self, meta: Any, *args: Any) -> Any:
        return self._chain("|", args)

    def intersection(self, meta: Any, *args: Any) -> Any:
        return self._chain("&", args)

    def sum(self, meta: Any, first: Any, *rest: Any) -> Any:
        for op, arg in zip(rest[::2], rest[1::2]):
            first = self._binary(str(op), first, arg)
        return first

    def comparison(self, meta: Any, left: Any, op: Token | None, right: Any) -> Any:
        return left if op is None else self._binary(str(op), left, right)

    def implication(self, meta: Any, left: Any, right: Any) -> Any:
        return left if right is None else self._binary("=>", left, right)

    def ternary(self, meta: Any, cond: Any, then: Any, otherwise: Any) -> Any:
        if then is None:
            return cond
        node = t.Ternary(cond, then, otherwise, self._span(meta))
        return node
