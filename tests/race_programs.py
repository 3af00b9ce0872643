"""Random programs with plain variables, which race or do not."""

import random

from cpuhp.api import DEFAULT_TABLE
from cpuhp.diagnostics import Source
from cpuhp.engines.checking import Checker
from cpuhp.kernel.tables.order import shipped_order
from cpuhp.language.library import Library
from cpuhp.language.link import link
from cpuhp.language.parser import parse

DECLARATIONS = """
scenario random_races;
shared bool flag;
shared int 0..2 level;
shared cpu? owner = boot;
percpu bool ready;
percpu int 0..2 load;
shared atomic bool go;
shared cpumask marked = cpus;
mutex m;
"""


def checker_of(text, name="races"):
    """What answers the claims of this program."""
    unit = parse(Source(name, text))
    library = Library({}, {}).with_units([unit])
    return Checker(link(unit, library, shipped_order(DEFAULT_TABLE), {}))


def text_of(checker):
    return checker.program.scenario.span.source.text


class Writer:
    """Random statements of a process; `who` is its CPU, or the control CPU."""

    def __init__(self, seed, who):
        self.random, self.who, self.names = random.Random(seed), who, 0

    def pick(self, *items):
        return self.random.choice(items)

    def condition(self):
        return self.pick(
            "go", "!flag", "level > 0", "owner == boot", f"ready[{self.who}]",
            f"load[{self.who}] < 2", f"{self.who} in marked", "weight(marked) < 2",
            "exists(c in aps : ready[c])", f"owner == {self.who}",
        )  # fmt: skip

    def simple(self):
        return self.pick(
            "go = true;", "flag = !flag;", "level = 2;", f"owner = {self.who};",
            "level = 1;", f"ready[{self.who}] = go;", f"load[{self.who}] = 2;",
            f"ready[{self.who}] = flag;", f"cpumask_clear_cpu({self.who}, marked);",
            "owner = first(c in marked : !ready[c]);",
            "owner = last(c in aps : c in marked);",
            f"owner = cpumask_any_but(marked, {self.who});",
            f"atomic {{ wait (go); flag = {self.pick('true', 'false')}; }}",
        )  # fmt: skip

    def local(self):
        self.names += 1
        return f"local{self.names}"

    def statement(self, depth):
        if depth == 0:
            return self.simple()
        inner, name = self.block(depth - 1), self.local()
        return self.pick(
            f"if ({self.condition()}) {{ {inner} }}",
            f"mutex_lock(m); {inner} mutex_unlock(m);",
            f"bool {name} = {self.condition()}; if ({name}) {{ {inner} }}",
            f"int 0..2 {name} = 0; while ({name} < 2) {{ {inner} {name}++; }}",
            f"while ({self.condition()}) {{ {inner} }}",
            f"for ({name} in {self.pick('aps', 'marked')}) {{ {inner} }}"
            if self.who == "boot"
            else self.simple(),
            self.simple(),
        )

    def block(self, depth):
        return " ".join(self.statement(depth) for _ in range(self.random.randint(1, 2)))


def program(seed):
    """A task and a process on each other CPU, and claims of every kind."""
    control, leaf = Writer(seed, "boot"), Writer(seed + 500, "cpu")
    text = (
        DECLARATIONS
        + f"process control {{ {control.block(2)} {control.block(1)} }}\n"
        + f"process leaf(cpu) on aps {{ {leaf.block(1)} {leaf.block(2)} }}\n"
        + "process bystander(cpu) on aps { bool seen = go; }\n"
        + "check no_race { race_free; }\n"
        + "check ends { terminates; }\n"
        + f"check never_so {{ never {control.condition()} && {leaf_claim(leaf)}; }}\n"
        + "check goes_on { deadlock_free; }\n"
        + f"check at_last {{ finally {control.condition()}; }}\n"
    )
    return checker_of(text, f"seed {seed}")


def leaf_claim(leaf):
    return f"exists(cpu in aps : {leaf.condition()})"


class Nosy(Writer):
    """Statements that look at other CPUs, choose, go through sets, skip operands.

    With `careful`, most of them do all that they do under the mutex.
    """

    def __init__(self, chance, who, number, *, careful):
        super().__init__(0, who)
        self.random, self.number = chance, number
        self.careful = careful and chance.random() < 0.8
        self.known = []  # local variables: conditions on them

    def local(self):
        return f"{super().local()}_{self.number}"

    def cpu(self):
        """Some CPU, or none."""
        return self.pick(self.who, self.who, "owner", "boot", *self.chosen())

    def chosen(self):
        return [name for name, is_cpu in self.known if is_cpu]

    def test(self):
        """One thing that is looked at."""
        cpu, told = self.cpu(), [n for n, is_cpu in self.known if not is_cpu]
        return self.pick(
            "go", "flag", "level > 0", "owner == none", f"owner == {self.who}", "fixed",
            f"ready[{cpu}]", f"load[{cpu}] < 2", f"{cpu} in marked",
            f"calm({cpu})", "exists(c in aps : ready[c])",
            "all(c in marked : load[c] == 0)", "count(c in cpus : ready[c]) > 1",
            "line[chosen]", "exists(i in irq : line[i])",
            *told, *told,
        )  # fmt: skip

    def condition(self):
        one, other, third = self.test(), self.test(), self.test()
        return self.pick(
            one, one, f"!{one}" if " " not in one else f"!({one})",
            f"({one}) && ({other})", f"({one}) || ({other})",
            f"!(({one}) && ({other}))", f"(({one}) ? ({other}) : ({third}))",
        )  # fmt: skip

    def among(self):
        """A set of CPUs, and what they are chosen by."""
        name = self.local()
        self.known.append((name, True))
        condition = self.pick(f"ready[{name}]", f"load[{name}] < 2", self.condition())
        self.known.pop()
        group = self.pick("cpus", "aps", "marked", "ready", "aps - marked")
        return name, f"{name} in {group} : {condition}"

    def simple(self):
        cpu, (name, among) = self.cpu(), self.among()
        value = self.pick("0", "1", "2")
        return self.pick(
            "go = true;", "flag = true;", f"flag = {self.condition()};",
            f"level = {value};", f"level = ({self.test()}) ? level : {value};",
            "level++;", "atomic { level = level + 1; }",
            f"owner = {self.pick(self.who, 'none', 'boot')};",
            f"ready[{cpu}] = {self.condition()};", f"ready[{cpu}] = true;",
            f"load[{cpu}] = {value};", f"load[{cpu}] = load[{self.cpu()}];",
            f"spare[{cpu}] = 0;", f"line[chosen] = {self.test()};",
            f"line[{self.pick('chosen', 'chosen')}] = true;",
            f"cpumask_clear_cpu({cpu}, marked);", f"poke({cpu});",
            f"owner = {self.pick('any', 'first', 'last')}({among});",
            f"forall ({among}) {{ load[{name}] = {value}; }}",
            f"forall ({among}) {{ ready[{name}] = {self.test()}; load[{name}] = 0; }}",
            f"atomic {{ wait ({self.test()}); level = {value}; }}",
            f"atomic {{ if ({self.test()}) ready[{cpu}] = false; go = flag; }}",
        )  # fmt: skip

    def statement(self, depth):
        if depth == 0:
            return self.simple()
        name, known = self.local(), list(self.known)
        kind = self.pick(
            "if", "else", "lock", "own", "bool", "cpu", "turns", "for", "wait", "simple"
        )
        condition, (_, among) = self.condition(), self.among()
        if kind in ("bool", "cpu"):
            self.known.append((name, kind == "cpu"))
        inner, rest = self.block(depth - 1), self.block(0)
        decides = self.pick(name, f"({self.test()}) {self.pick('&&', '||')} {name}")
        self.known = known
        return {
            "if": f"if ({condition}) {{ {inner} }}",
            "else": f"if ({condition}) {{ {inner} }} else {{ {rest} }}",
            "lock": inner if self.careful
                    else f"mutex_lock(m); {inner} mutex_unlock(m);",
            "own": f"spin_lock(own[{self.who}]); {inner} spin_unlock(own[{self.who}]);",
            "bool": f"bool {name} = {condition}; {inner} if ({decides}) {{ {rest} }}",
            "cpu": f"cpu? {name} = {self.pick('any', 'first')}({among}); {inner}",
            "turns": f"int 0..2 {name} = 0; "
                     f"while ({name} < 2 && ({condition})) {{ {inner} {name}++; }}",
            "for": f"for ({among}) {{ {inner} }}",
            "wait": f"wait ({condition}); {inner}",
            "simple": self.simple(),
        }[kind]  # fmt: skip

    def body(self, depth):
        sure = f"sure_{self.number}"  # a local variable that is known
        self.known = [(sure, False)]
        inner = f"bool {sure} = {self.pick('true', 'false')}; {self.block(depth)}"
        return f"mutex_lock(m); {inner} mutex_unlock(m);" if self.careful else inner


FIXED = """
shared bool fixed = true;
percpu int 0..1 spare;
percpu spinlock own;
mutex m;
bool calm(cpu c) = !ready[c] || load[c] == 0;
void poke(cpu c) { if (c != none) load[c] = 1; }
"""
SHARED = (
    ("shared", "bool flag"), ("shared", "int 0..2 level"), ("shared", "bool go"),
    ("shared", "cpu? owner = boot"), ("percpu", "bool ready"),
    ("percpu", "int 0..2 load"), ("per irq", "bool line"),
)  # fmt: skip
KINDS = (
    "process {}", "process {}", "process {}(cpu) on aps", "process {}(cpu) on aps",
    "process {}(cpu) on cpus", "environment {}", "environment {}(cpu)",
    "interrupt {}(cpu)",
)  # fmt: skip


WRITES = {
    "flag": "flag = true;", "level": "level = 1;", "go": "go = true;",
    "owner": "owner = boot;", "ready": "ready[cpu] = true;", "load": "load[cpu] = 1;",
    "line": "line[chosen] = true;",
}  # fmt: skip


def _scenario(seed, plain, processes):
    text = "scenario racing;\ninstances irq : 2;\n"
    for where, what in SHARED:
        text += f"{where} {'' if (where, what) in plain else 'atomic '}{what};\n"
    text += "cpumask marked = cpus;\nirq chosen = any;\n" + FIXED
    text += "\n".join((*processes, "check no_race { race_free; }\n"))
    return checker_of(text, f"seed {seed}")


def racing(seed):
    """A program of two or three processes, in which some variables are plain."""
    chance = random.Random(seed)
    careful = chance.random() < 0.5
    plain = chance.sample(SHARED, chance.randint(1, 2 if careful else len(SHARED)))
    processes = []
    for number in range(chance.randint(2, 3)):
        head = chance.choice(KINDS).format(f"p{number}")
        who = "cpu" if "(cpu)" in head else "boot"
        writer = Nosy(chance, who, number, careful=careful)
        depth = 1 if number == 2 else chance.randint(1, 2)
        processes.append(f"{head} {{ {writer.body(depth)} }}")
    return _scenario(seed, plain, processes)


def looking_once(seed):
    """One plain variable, which stands once in a process; the other one writes it."""
    chance = random.Random(seed)
    plain = chance.choice(SHARED)
    name = plain[1].split(" = ")[0].split()[-1]
    body, head, who = "", *chance.choice((("p", "boot"), ("p(cpu)", "cpu")))
    while body.count(name) != 1:
        body = Nosy(chance, who, 0, careful=False).body(1)
    writes = WRITES[name]
    other = "process writes(cpu)" if "cpu" in writes else "process writes"
    processes = f"process {head} {{ {body} }}", f"{other} {{ {writes} }}"
    return _scenario(seed, [plain], processes)
