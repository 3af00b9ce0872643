import json
import os
import time

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_trees import real_tree, tree
from patch_series import diff, mail

from cpuhp.cli.lint import command as lint_command
from cpuhp.cli.review import command as review_command
from cpuhp.diagnostics import InputError
from cpuhp.kernel.hazards.lint import Looked, lint, lint_tree
from cpuhp.kernel.patches.apply import apply
from cpuhp.kernel.patches.damage import damages
from cpuhp.kernel.patches.review import review
from cpuhp.kernel.patches.series import read_mail, read_series
from cpuhp.kernel.registrations.config import Config
from cpuhp.kernel.registrations.extract import extract_tree
from cpuhp.kernel.registrations.memo import Memo
from cpuhp.kernel.source import tree as tree_module
from cpuhp.kernel.source.syntax import text_functions
from cpuhp.kernel.source.text import CText
from cpuhp.kernel.source.tree import Tree, open_tree

DRIVER = """
static int users; /* serialized by cpu hotplug */
static irqreturn_t handle(int irq, void *data)
{
	spin_lock(&pmu->pmu_lock);
	return IRQ_HANDLED;
}
static int up(unsigned int cpu)
{
	cpumask_set_cpu(cpu, &pmu->mask);
	return 0;
}
static int down(unsigned int cpu)
{
	int t, i;

	mutex_lock(&m);
	users--;
	t = cpumask_any_but(cpu_online_mask, cpu);
	for_each_online_cpu(i) {
		if (i != cpu)
			break;
	}
	synchronize_rcu();
	mutex_unlock(&m);
	if (num_online_cpus() == 1)
		return -EBUSY;
	spin_lock(&pmu->pmu_lock);
	perf_pmu_migrate_context(&pmu->pmu, cpu, t);
	return 0;
}
static int init(void)
{
	return cpuhp_setup_state(CPUHP_A_DEAD, "n", up, down);
}
"""
FILE = "drivers/foo.c"
HARD = {
    "words": "\tint t = cpumask_any_but(cpu_online_mask, cpu);\n\t" + "a " * 200_000,
    "brackets": "\tint t = cpumask_any_but(cpu_online_mask, cpu);\n\tf(" + "(" * 90_000,
    "picks": "\tint t;\n" + "\tt = cpumask_any_but(cpu_online_mask, cpu);\n" * 3000,
    "waits": "\tmutex_lock(&a);\n\tmsleep(1);\n" * 3000,
    "loops": "\tfor_each_online_cpu(i) {\n" * 3000,
    "plain": "\tusers++;\n" * 5000,
    "locks": "\tspin_lock(&x->pmu_lock);\n" * 4000,
    "tests": "\tint t = cpumask_any_but(cpu_online_mask, cpu);\n" + "if (t = " * 30_000,
}


def mutated(text):
    places = st.integers(0, len(text))
    bits = st.sampled_from(["", "{", "}", "(", ")", '"', "/*", "*/", "#if 0\n", "\\\n",
                            "\0", ",", ";", "\x80", "@@ -1 +1 @@\n", "--- a/x\n"])  # fmt: skip
    once = st.tuples(places, places, bits).map(
        lambda t: text[: min(t[:2])] + t[2] + text[max(t[:2]) :]
    )
    small = st.tuples(places, st.integers(0, 9), bits).map(
        lambda t: text[: t[0]] + t[2] + text[t[0] + t[1] :]
    )
    return once | small


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tree(tmp_path_factory.mktemp("t"), paths={FILE: DRIVER})
    return open_tree(folder), Memo(), Looked()


def findings(lab, overlay):
    opened, memo, looked = lab
    changed = Tree(opened.root, overlay)
    return lint_tree(changed, extract_tree(changed, Config(), memo), before=looked)


def test_the_driver_has_something_of_most_rules(lab):
    rules = {finding.rule for finding in findings(lab, {}).findings}
    assert len(rules) >= 6


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(mutated(DRIVER))
def test_mutated_drivers_never_crash(lab, text):
    data = text.encode("latin-1")
    found = findings(lab, {FILE: data})
    assert all(f.line > 0 and f.chain for f in found.findings)
    fresh = (lab[0], Memo(), Looked())
    assert findings(fresh, {FILE: data}).findings == found.findings


@pytest.mark.parametrize("what", sorted(HARD))
def test_work_is_bounded(tmp_path, what):
    text = DRIVER.replace("\tint t, i;\n", HARD[what])
    start = time.process_time()
    lint(tree(tmp_path, paths={FILE: text}))
    assert time.process_time() - start < 10


MAIL = mail(
    "foo: Fix the race of CPUs that go down in parallel",
    "Use the active mask, so that no dying CPU is picked.",
    [
        diff(FILE, DRIVER, DRIVER.replace("online_mask", "active_mask")),
        diff("drivers/new.c", None, "int a;\n"),
        diff("kernel/threads.c", "int make_threads(unsigned int cpu)\n", None),
    ],
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(mutated(MAIL))
def test_mutated_mails_never_crash(lab, text):
    patch = read_mail(text.encode("latin-1"), "s")
    if patch is None:
        return
    before = lab[0]
    applied = apply(before, patch)
    assert set(applied.touched) <= set(applied.tree.overlay)
    assert all(".." not in path.split("/") for path in applied.tree.overlay)
    list(damages(before, applied, patch))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_mail_or_none(data):
    patch = read_mail(data, "s")
    assert patch is None or patch.subject


def test_large_files_are_left_alone(tmp_path):
    folder = tree(tmp_path / "t", paths={FILE: DRIVER})
    with open(folder / "drivers/huge.c", "w") as stream:
        stream.write(DRIVER)
        stream.truncate(100 << 20)  # sparse
    box = tmp_path / "s"
    box.write_text(diff("drivers/huge.c", DRIVER, DRIVER.replace("users", "u")))
    (failure,) = review(read_series(box), open_tree(folder)).patches[0].applied.failures
    assert "100 MiB is too large" in failure.reason
    with open(box, "a") as stream:
        stream.truncate(100 << 20)
    with pytest.raises(InputError, match="HP640"):
        read_series(box)


def test_unreadable_files_are_told(tmp_path, monkeypatch):
    folder = tree(tmp_path, paths={FILE: DRIVER, "drivers/bar.c": DRIVER})
    opened = os.open

    def refuse(path, *rest):
        if os.fspath(path).endswith("bar.c"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest)

    monkeypatch.setattr(tree_module.os, "open", refuse)
    found = lint(folder)
    assert {f.file for f in found.findings} == {FILE}
    assert "Permission denied" in found.extraction.notes[0].message


def test_what_is_missing_is_told(tmp_path):
    folder = tree(tmp_path, paths={FILE: DRIVER})
    (folder / "kernel/cpu.c").unlink()
    assert (
        "note: kernel/cpu.c: "
        in CliRunner().invoke(lint_command, [str(folder), "--no-models"]).output
    )
    told = CliRunner().invoke(lint_command, [str(folder), "--format", "json"])
    assert json.loads(told.output)["notes"][0]["file"] == "kernel/cpu.c"
    log = json.loads(
        CliRunner().invoke(lint_command, [str(folder), "--format", "sarif"]).output
    )
    (invocation,) = log["runs"][0]["invocations"]
    text = invocation["toolExecutionNotifications"][0]["message"]["text"]
    assert text.startswith("kernel/cpu.c: ")


@pytest.mark.parametrize("command, options", [(lint_command, []),
                                              (review_command, ["SERIES"])])  # fmt: skip
def test_what_is_no_kernel_is_one_error(tmp_path, command, options):
    words = [str(tmp_path)] if not options else ["s", "--tree", str(tmp_path)]
    result = CliRunner().invoke(command, words)
    assert isinstance(result.exception, InputError)
    assert "HP613" in str(result.exception)


def test_links_and_odd_names_in_a_tree(tmp_path):
    folder = tree(tmp_path / "t", paths={FILE: DRIVER})
    os.symlink(folder, folder / "drivers/loop")
    odd = os.fsencode(folder) + b"/drivers/\xff\x1b[2J.c"
    with open(odd, "w") as stream:
        stream.write(DRIVER)
    result = CliRunner().invoke(lint_command, [str(folder), "--all"])
    assert result.exit_code in (0, 1)
    assert "\x1b" not in result.output
    assert "\\xff\\x1b[2J.c" in result.output


@pytest.mark.kernel
@pytest.mark.slow
def test_mutated_kernel_files_never_crash(tmp_path_factory):
    folder = real_tree("6.12", tmp_path_factory.mktemp("tree"))
    if folder is None:
        pytest.skip("linux-source-6.12 is not installed")
    real = (open_tree(folder), Memo(), Looked())
    found = findings(real, {})
    files = sorted({f.file for f in found.findings if f.file.endswith(".c")})

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def mutate(data):
        file = data.draw(st.sampled_from(files))
        text = (folder / file).read_text("latin-1")
        changed = data.draw(mutated(text)).encode("latin-1")
        assert findings(real, {file: changed}).callbacks > 100

    mutate()


@pytest.mark.parametrize(
    "text", ["__a(b)\n" * 20_000, "a(b)\n" + "__a" * 60_000, "a(b)" + " __x" * 60_000]
)
def test_looking_for_functions_is_bounded(text):
    start = time.process_time()
    assert not list(text_functions(CText.of(text.encode())))
    assert time.process_time() - start < 5
