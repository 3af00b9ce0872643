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
    "take, give",
    [("mutex_lock", "mutex_unlock"), ("down_write", "up_write"), ("down", "up")],
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
        ("users = 1 + users", True),
        ("users = p->n | users", True),
        ("users = 2 & users", True),
        ("users = 1 && users", False),
        ("users = x || users", False),
        ("users = 1 + users_of(x)", False),
        ("users = 1 + users2", False),
        ("WRITE_ONCE(users, 1 + users)", True),
        ("WRITE_ONCE(users, users)", False),
    ],
)
def test_an_assignment_may_change_in_place(tmp_path, statement, rmw):
    assert rules(tmp_path, f"\t{statement};\n") == ["plain-rmw"] * rmw


HELPERS = """
struct box { struct mutex lock; };
static struct box box;
static void take_it(void) { mutex_lock(&m); }
static void drop_it(void) { mutex_unlock(&m); }
static void lock_it(void) { take_it(); }
static void unlock_it(void) { drop_it(); }
static void enter(struct box *b) { might_sleep(); mutex_lock(&b->lock); }
static void leave(struct box *b) { mutex_unlock(&b->lock); }
static void both(struct box *b) { mutex_lock(&b->lock); mutex_unlock(&b->lock); }
static int value(struct box *b) { mutex_lock(&b->lock); mutex_unlock(&b->lock); return 0; }
static int guarded(struct box *b) { guard(mutex)(&b->lock); return 0; }
static void through(struct box *b) { enter(b); leave(b); }
static void other_name(struct box *b) { mutex_lock(&b->lock); mutex_unlock(&box.lock); }
#define TAKE(x) mutex_lock(x)
#define DROP(x) mutex_unlock(x)
"""


@pytest.mark.parametrize(
    "take, give, holds",
    [
        ("take_it()", "drop_it()", True),
        ("lock_it()", "unlock_it()", True),
        ("enter(&box)", "leave(&box)", True),
        ("enter(&box)", "mutex_unlock(&box.lock)", True),
        ("mutex_lock(&b->lock)", "leave(b)", True),
        ("TAKE(&m)", "DROP(&m)", True),
        ("both(&box)", "f()", False),
        ("value(&box)", "f()", False),
        ("guarded(&box)", "f()", False),
        ("through(&box)", "f()", False),
        ("other_name(&box)", "f()", False),
        ("unknown()", "f()", False),
    ],
)
def test_a_helper_takes_and_gives_a_lock(tmp_path, take, give, holds):
    def told(name, body):
        text = f"{body}\treturn 0;"
        return [f.rule for f in found(tmp_path / name, text, BEFORE + HELPERS)]

    under = told("a", f"\t{take};\n{WAIT}{COUNT}\t{give};\n")
    assert under == (["wait-under-lock"] if holds else ["plain-rmw"])
    assert told("b", f"\t{take};\n\t{give};\n{WAIT}{COUNT}") == ["plain-rmw"]


def test_a_helper_that_gives_a_lock_back_before_a_return(tmp_path):
    body = "\tmutex_lock(&m);\n\tif (x) {\n\t\tdrop_it();\n\t\treturn 1;\n\t}\n"
    body += f"{COUNT}\tmutex_unlock(&m);\n\treturn 0;"
    assert not found(tmp_path / "a", body, BEFORE + HELPERS)
    (finding,) = found(
        tmp_path / "b", body.replace("\t\tdrop_it();\n", ""), BEFORE + HELPERS
    )
    assert finding.rule == "lock-not-released"


@pytest.mark.parametrize(
    "body, holds",
    [
        ("if (!try) return 0; COUNT; give;", True),
        ("if (!try) { f(); return 0; } COUNT; give;", True),
        ("if (x || !try) goto out; COUNT; give; out:", True),
        ("if (!try) return 0; give; COUNT;", False),
        ("if (!try) COUNT;", False),
        ("if (!try) { COUNT; }", False),
        ("if (!try) f(); COUNT;", False),
        ("if (try) { COUNT; give; }", True),
        ("if (try) { f(); give; } COUNT;", False),
        ("if (try) { give; } else { COUNT; }", False),
        ("if (try) f(); else return 0; COUNT; give;", True),
        ("if (!try) f(); else { COUNT; give; }", True),
        ("if (!try) { return 0; } else { f(); } COUNT; give;", True),
        ("if (!try) { f(); take; } COUNT; give;", True),
        ("while (!try) f(); COUNT; give;", True),
        ("got = try; if (!got) return 0; COUNT; give;", True),
        ("got = try; if (got) { COUNT; give; }", True),
        ("got = try; COUNT;", False),
        ("try; COUNT;", False),
    ],
)
@pytest.mark.parametrize("kind", ["spin", "mutex"])
def test_a_lock_that_is_tried_is_held_where_it_was_got(tmp_path, body, holds, kind):
    for word, call in (("try", "trylock"), ("give", "unlock"), ("take", "lock")):
        body = body.replace(word, f"{kind}_{call}(&m)")
    body = body.replace("COUNT", "users--").replace("; ", ";\n\t")
    assert rules(tmp_path, f"\t{body}\n") == ["plain-rmw"] * (not holds)


@pytest.mark.parametrize(
    "body, holds",
    [
        ("down(&m); COUNT; up(&m);", True),
        ("down(foo_sem); COUNT; up(foo_sem);", True),
        ("if (down_interruptible(&m)) return 0; COUNT; up(&m);", True),
        ("got = down_interruptible(&m); if (got) return got; COUNT; up(&m);", True),
        ("if (mutex_lock_killable(&m)) return 0; COUNT; mutex_unlock(&m);", True),
        ("got = mutex_lock_interruptible(&m); COUNT; mutex_unlock(&m);", True),
        ("if (down_trylock(&m)) return 0; COUNT; up(&m);", True),
        ("if (!down_trylock(&m)) { COUNT; up(&m); }", True),
        ("if (!down_trylock(&m)) return 0; COUNT;", False),
        ("down(&m); up(&m); COUNT;", False),
        ("tear_down(&m); COUNT;", False),
        ("down(cpu - 1); COUNT;", False),
    ],
)
def test_a_semaphore_is_a_lock(tmp_path, body, holds):
    body = body.replace("COUNT", "users--").replace("; ", ";\n\t")
    assert rules(tmp_path, f"\t{body}\n") == ["plain-rmw"] * (not holds)
