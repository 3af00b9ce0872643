"""A small reader of Cubicle's language, and an exhaustive search at a number of processes.

The grammar is that of Cubicle's own parser, as far as our models use it: parameters of
a transition are distinct, a condition on `forall_other` is about the rest, the first
row of a `case` that applies counts. Cubicle itself reads such a condition more freely
(processes may vanish); here it is exact, so that states can be counted.
"""

from itertools import permutations, product

from lark import Lark, Token

GRAMMAR = r"""
start: type_* symbol* init decl*
type_: "type" LIDENT "=" MIDENT ("|" MIDENT)*
symbol: "var" MIDENT ":" LIDENT -> var
    | "array" MIDENT "[" LIDENT ("," LIDENT)* "]" ":" LIDENT -> array
init: "init" params "{" expr "}"
?decl: "unsafe" params "{" expr "}" -> unsafe
    | "transition" (LIDENT | MIDENT) params "requires" "{" expr "}" "{" [updates] "}" -> transition
params: "(" LIDENT* ")"
updates: update (";" update)* [";"]
update: place ":=" value
place: MIDENT ["[" LIDENT ("," LIDENT)* "]"]
?value: term | "case" row+ -> case
row: "|" (OTHERWISE | expr) ":" term
?expr: conjunction ("||" conjunction)* -> or_
?conjunction: simple ("&&" simple)* -> and_
?simple: "true" -> true | "false" -> false
    | term SIGN term -> literal
    | "(" expr ")"
    | "forall_other" LIDENT "." expr -> others
?term: MIDENT ["[" LIDENT ("," LIDENT)* "]"] -> cell
    | LIDENT -> process
SIGN: "<>" | "="
OTHERWISE: "_"
MIDENT: /[A-Z][a-zA-Z0-9_]*/
LIDENT: /(?!(?:type|init|transition|requires|array|var|unsafe|case|forall_other|true|false)\b)[a-z][a-zA-Z0-9_]*/
%ignore /\(\*[\s\S]*?\*\)/
%ignore /\s+/
"""


def flag(pointer):
    """The name of what tells whether a pointer is set."""
    return pointer.replace("V_", "V_set_", 1)


class Model:
    """A model, and what it does with so many processes."""

    def __init__(self, text):
        tree = Lark(GRAMMAR, parser="lalr").parse(text)
        self.types = {"bool": ["False", "True"], "proc": None}
        self.symbols = {}  # name: (number of processes it is indexed with, type)
        self.transitions, self.unsafes = [], []
        for part in tree.children:
            parts = part.children
            if part.data == "type_":
                names = [str(p) for p in parts[1:]]
                assert not set(names) & {
                    c for t in self.types.values() for c in t or ()
                }
                self.types[str(parts[0])] = names
            elif part.data in ("var", "array"):
                assert str(parts[-1]) in self.types
                assert str(parts[0]) not in self.symbols
                self.symbols[str(parts[0])] = (len(parts) - 2, str(parts[-1]))
            elif part.data == "init":
                self.init = parts
            elif part.data == "unsafe":
                self.unsafes.append(parts)
            else:
                self.transitions.append(parts)

    def run(self, count, most=200_000):
        """Reachable states with so many processes, and whether one is unsafe."""
        self.count = count
        self.cells = [
            (name, where)
            for name, (arity, _) in self.symbols.items()
            for where in product(range(count), repeat=arity)
        ]
        found = dict.fromkeys(self.starts())
        bad = False
        for state in (queue := list(found)):
            bad = bad or any(self.matches(u, state) for u in self.unsafes)
            for after in self.steps(state):
                if after not in found:
                    assert len(found) < most
                    found[after] = None
                    queue.append(after)
        return set(found), bad

    def values(self, name):
        kind = self.symbols[name][1]
        return self.types[kind] or list(range(self.count))

    def starts(self):
        """Cell by cell, so that what is fixed is not tried with every value."""
        params, expr = self.init
        names = [str(p) for p in params.children]
        bounds = [dict(zip(names, who))
                  for who in product(range(self.count), repeat=len(names))]  # fmt: skip
        partial = [{}]
        for name, where in self.cells:
            partial = [
                grown
                for state in partial
                for value in self.values(name)
                if all(
                    self.holds(expr, b, grown := {**state, (name, where): value})
                    is not False
                    for b in bounds
                )
            ]
        return [self.frozen(s) for s in partial]

    def frozen(self, state):
        """A pointer that is not set is nobody's."""
        return tuple(
            None if state.get((flag(name), where)) == "False" else state[name, where]
            for name, where in self.cells
        )

    def thawed(self, state):
        return dict(zip(self.cells, state))

    def matches(self, unsafe, state):
        params, expr = unsafe
        names = [str(p) for p in params.children]
        return any(
            self.holds(expr, dict(zip(names, who)), self.thawed(state))
            for who in permutations(range(self.count), len(names))
        )

    def steps(self, state):
        now = self.thawed(state)
        for _, params, guard, updates in self.transitions:
            names = [str(p) for p in params.children]
            for who in permutations(range(self.count), len(names)):
                bound = dict(zip(names, who))
                if self.holds(guard, bound, now):
                    yield self.frozen(self.after(updates, bound, now))

    def after(self, updates, bound, now):
        later, done = dict(now), set()
        for update in updates.children if updates else ():
            if update is None:
                continue
            place, value = update.children
            name, *over = [str(c) for c in place.children if c is not None]
            assert name not in done, f"{name} is assigned twice"
            assert not set(over) & set(bound), "a clash of parameters"
            done.add(name)
            arity = self.symbols[name][0]
            assert arity == len(over)
            for where in product(range(self.count), repeat=arity):
                local = {**bound, **dict(zip(over, where))}
                later[name, where] = self.value(value, local, now)
        return later

    def value(self, tree, bound, now):
        if tree.data != "case":
            return self.term(tree, bound, now)
        for row in tree.children:
            test, value = row.children
            if isinstance(test, Token) or self.holds(test, bound, now):
                return self.term(value, bound, now)
        raise AssertionError("no row applies")

    def term(self, tree, bound, now):
        if tree.data == "process":
            return bound[str(tree.children[0])]
        name, *over = [str(c) for c in tree.children if c is not None]
        if name in self.symbols:
            assert len(over) == self.symbols[name][0]
            return now.get((name, tuple(bound[o] for o in over)), ...)
        assert any(name in (t or ()) for t in self.types.values()), name
        return name

    def holds(self, tree, bound, now):
        """True, False, or None where a cell is not known yet."""
        parts = tree.children
        match tree.data:
            case "true" | "false":
                return tree.data == "true"
            case "and_":
                found = [self.holds(p, bound, now) for p in parts]
                return False if False in found else None if None in found else True
            case "or_":
                found = [self.holds(p, bound, now) for p in parts]
                return True if True in found else None if None in found else False
            case "others":
                name, body = parts
                rest = set(range(self.count)) - set(bound.values())
                found = [self.holds(body, {**bound, str(name): z}, now) for z in rest]
                return False if False in found else None if None in found else True
            case "literal":
                a = self.term(parts[0], bound, now)
                b = self.term(parts[2], bound, now)
                if ... in (a, b):
                    return None
                return (a == b) == (parts[1] == "=")
        raise AssertionError(tree.data)
