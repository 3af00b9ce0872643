"""Which locks are held: guards end with their block, and a goto may pass an unlock."""

import pytest
from test_kernel_lint import found

WAIT = "\t\tsynchronize_rcu();\n"
COUNT = "\t\tusers--;\n"
BEFORE = """static DEFINE_MUTEX(m);
static int users;
static irqreturn_t handle(int irq, void *data)
{
	spin_lock(&in_irq);
	spin_unlock(&in_irq);
	return IRQ_HANDLED;
}
"""


def rules(folder, body):
    return [f.rule for f in found(folder, f"{body}\treturn 0;", BEFORE)]


@pytest.mark.parametrize(
    "around, inside",
    [
        ("\tscoped_guard(mutex, &m) {{\n{0}\t}}\n{1}", True),
        ("\tscoped_guard(mutex, &m)\n\tif (x) {{\n{0}\t}}\n{1}", True),
        ("\tif (x) {{\n\t\tguard(mutex)(&m);\n{0}\t}}\n{1}", True),
        ("\tguard(mutex)(&m);\n\tif (x) {{\n{0}\t}}\n{1}", False),
    ],
)
def test_a_guard_holds_to_the_end_of_its_block(tmp_path, around, inside):
    under = rules(tmp_path / "a", around.format(WAIT + COUNT, ""))
    assert under == ["wait-under-lock"]
    after = rules(tmp_path / "b", around.format("\t\tf();\n", WAIT + COUNT))
    assert after == (["plain-rmw"] if inside else ["wait-under-lock"])


@pytest.mark.parametrize(
    "guard, unsafe",
    [
        ("scoped_guard(spinlock, &in_irq)", True),
        ("scoped_guard(spinlock_irqsave, &in_irq)", False),
        ("scoped_guard(spinlock, &other)", False),
    ],
)
def test_a_scoped_guard_takes_a_lock_with_interrupts_on(tmp_path, guard, unsafe):
    assert rules(tmp_path, f"\t{guard}\n\t\tf();\n") == ["lock-irq-unsafe"] * unsafe


@pytest.mark.parametrize(
    "body, kept",
    [
        ("lock; if (x) goto out; unlock; out:", True),
        ("lock; if (x) return 1; unlock;", True),
        ("lock; if (x) goto out; f(); out: unlock;", False),
        ("lock; if (x) goto bad; out: unlock; return 0; bad: g(); goto out;", False),
        ("lock; again: if (x) goto again; unlock;", False),
        ("if (x) { lock; } else { if (y) return 1; lock; } unlock;", False),
    ],
)
@pytest.mark.parametrize(
    "take, give", [("mutex_lock", "mutex_unlock"), ("down_write", "up_write")]
)
def test_a_way_around_the_unlock(tmp_path, body, kept, take, give):
    lines = body.replace("unlock;", f"{give}(&m);").replace("lock;", f"{take}(&m);")
    lines = lines.replace("; ", ";\n\t").replace(": ", ":\n\t").replace("{ ", "{\n\t")
    assert rules(tmp_path, f"\t{lines}\n") == ["lock-not-released"] * kept


@pytest.mark.parametrize(
    "statement, rmw",
    [
        ("users = users - 1", True),
        ("users = users | 2", True),
        ("users = users && x", False),
        ("users = x - users", False),
    ],
)
def test_an_assignment_may_change_in_place(tmp_path, statement, rmw):
    assert rules(tmp_path, f"\t{statement};\n") == ["plain-rmw"] * rmw
