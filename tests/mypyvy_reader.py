"""A small reader of mypyvy's language, and its `verify`, on z3.

The grammar is what the language's own parser takes, as far as our models use it. A model
is verified as mypyvy does it: the initial states satisfy every invariant and `safety`,
and each transition keeps each of them.
"""

import z3
from lark import Lark, Token

GRAMMAR = r"""
start: decl*
?decl: "sort" ID -> sort
    | MUT "relation" ID ["(" [ID ("," ID)*] ")"] -> relation
    | MUT "constant" ID ":" ID -> constant
    | MUT "function" ID "(" ID ("," ID)* ")" ":" ID -> function
    | "axiom" expr -> axiom
    | "init" expr -> init
    | KIND "[" ID "]" expr -> invariant
    | "transition" ID "(" [param ("," param)*] ")" [mods] expr -> transition
mods: "modifies" ID ("," ID)*
param: ID ":" ID
?expr: quantified | iff
quantified: QUANT param ("," param)* "." expr
?iff: implies | implies "<->" implies
?implies: or_ | or_ "->" implies
?or_: and_ ("|" and_)*
?and_: equality ("&" equality)*
?equality: not_ | not_ EQ not_
?not_: "!" not_ -> negation | atom
?atom: "true" -> true | "false" -> false
    | "new" "(" expr ")" -> new
    | "distinct" "(" expr ("," expr)* ")" -> distinct
    | "if" expr "then" expr "else" expr -> if_
    | ID "(" expr ("," expr)* ")" -> call
    | ID -> name
    | "(" expr ")"
MUT: "mutable" | "immutable"
KIND: "safety" | "invariant"
QUANT.2: /(forall|exists)\b/
EQ: "!=" | "="
ID: /(?!(?:new|if|then|else|forall|exists|distinct|true|false|modifies|init|axiom|sort|transition|safety|invariant|mutable|immutable)\b)[a-zA-Z_][a-zA-Z_0-9]*/
%ignore /#[^\n]*/
%ignore /\s+/
"""


def parser():
    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=True)


class Model:
    """A model as z3 terms, each mutable symbol once for each of two states."""

    def __init__(self, text):
        self.sorts, self.symbols, self.is_mutable = {}, {}, {}
        self.axioms, self.inits, self.invariants, self.steps = [], [], [], []
        for decl in parser().parse(text).children:
            getattr(self, f"on_{decl.data}")(*decl.children)

    # declarations

    def on_sort(self, name):
        self.sorts[str(name)] = z3.DeclareSort(str(name))

    def declare(self, mutable, name, sorts, result):
        assert str(name) not in self.symbols, f"{name} is declared twice"
        arity = [self.sorts[str(s)] for s in sorts]
        kept = str(mutable) == "immutable"
        self.is_mutable[str(name)] = not kept
        self.symbols[str(name)] = tuple(
            z3.Function(str(name) + end, *arity, result)
            for end in (("", "") if kept else ("", "'"))
        )

    def on_relation(self, mutable, name, *sorts):
        self.declare(mutable, name, [s for s in sorts if s], z3.BoolSort())

    def on_constant(self, mutable, name, sort):
        self.declare(mutable, name, [], self.sorts[str(sort)])

    def on_function(self, mutable, name, *sorts):
        self.declare(mutable, name, sorts[:-1], self.sorts[str(sorts[-1])])

    def on_axiom(self, expr):
        self.axioms.append(self.term(expr, {}))

    def on_init(self, expr):
        self.inits.append(self.term(expr, {}))

    def on_invariant(self, kind, name, expr):
        both = self.term(expr, {}), self.term(expr, {}, 1)
        self.invariants.append((str(kind), str(name), *both))

    def on_transition(self, name, *rest):
        *params, mods, expr = rest
        bound = dict(map(self.param, filter(None, params)))
        may = {str(m) for m in mods.children} if mods else set()
        assert all(self.is_mutable[m] for m in may)
        step = self.term(expr, bound)
        kept = [
            self.same(symbol)
            for symbol, mutable in self.is_mutable.items()
            if mutable and symbol not in may
        ]
        self.steps.append((str(name), z3.And(step, *kept)))

    def same(self, symbol):
        old, new = self.symbols[symbol]
        xs = [z3.Const(f"k{n}", old.domain(n)) for n in range(old.arity())]
        equal = old(*xs) == new(*xs)
        return z3.ForAll(xs, equal) if xs else equal

    # terms

    def param(self, tree):
        name, sort = map(str, tree.children)
        return name, z3.Const(name, self.sorts[sort])

    def term(self, tree, bound, state=0):
        if isinstance(tree, Token):
            raise AssertionError(tree)
        parts = tree.children

        def inner(part):
            return self.term(part, bound, state)

        match tree.data:
            case "true" | "false":
                return z3.BoolVal(tree.data == "true")
            case "name":
                if str(parts[0]) in bound:
                    return bound[str(parts[0])]
                return self.symbols[str(parts[0])][state]()
            case "call":
                return self.symbols[str(parts[0])][state](*map(inner, parts[1:]))
            case "new":
                assert state == 0, "new within new"
                return self.term(parts[0], bound, 1)
            case "negation":
                return z3.Not(inner(parts[0]))
            case "and_":
                return z3.And(*map(inner, parts))
            case "or_":
                return z3.Or(*map(inner, parts))
            case "implies":
                return z3.Implies(*map(inner, parts))
            case "iff":
                return inner(parts[0]) == inner(parts[1])
            case "equality":
                a, b = inner(parts[0]), inner(parts[2])
                return a == b if parts[1] == "=" else a != b
            case "distinct":
                return z3.Distinct(*map(inner, parts))
            case "if_":
                return z3.If(*map(inner, parts))
            case "quantified":
                *params, body = parts[1:]
                new = dict(map(self.param, params))
                make = z3.ForAll if parts[0] == "forall" else z3.Exists
                inside = self.term(body, {**bound, **new}, state)
                return make(list(new.values()), inside)
        raise AssertionError(tree.data)

    # what mypyvy asks

    def failures(self, milliseconds=20_000):
        """The names of what is not established or kept; empty if all is inductive."""
        before = [now for _, _, now, _ in self.invariants]
        found = []
        for _, name, now, _ in self.invariants:
            if not self.unsat([*self.inits, z3.Not(now)], milliseconds):
                found.append(f"init: {name}")
        for step, relation in self.steps:
            for _, name, _, later in self.invariants:
                if not self.unsat([*before, relation, z3.Not(later)], milliseconds):
                    found.append(f"{step}: {name}")
        return found

    def unsat(self, formulas, milliseconds):
        solver = z3.Solver()
        solver.set("timeout", milliseconds)
        solver.add(*self.axioms, *formulas)
        return solver.check() == z3.unsat

    def is_possible(self):
        """Is there an initial state, so that none of this is empty?"""
        solver = z3.Solver()
        solver.add(*self.axioms, *self.inits)
        return solver.check() == z3.sat
