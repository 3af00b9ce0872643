import json
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from kernel_trees import real_tree, tree
from patch_series import Maker, diff, mail

from cpuhp.cli.review import command
from cpuhp.diagnostics import InputError
from cpuhp.kernel.patches.review import review
from cpuhp.kernel.patches.series import read_mail, read_series
from cpuhp.kernel.source.tree import open_tree

ROOT = Path(__file__).resolve().parents[2]
OLD = "cpumask_any_but(cpu_online_mask,"
NEW = "cpumask_not_dying_but(cpu_online_mask,"
HELPER = """
static inline int cpumask_not_dying_but(const struct cpumask *mask, int cpu)
{
	unsigned int i;

	for_each_cpu(i, mask)
		if (i != cpu && !cpumask_test_cpu(i, cpu_dying_mask))
			break;
	return i;
}

#endif
"""
DRIVER = """
static int {name}_up(unsigned int cpu)
{{
	return 0;
}}

static int {name}_down(unsigned int cpu)
{{
	unsigned int target;

	target = cpumask_any_but(cpu_online_mask, cpu);
	if (target >= nr_cpu_ids)
		return 0;
	perf_pmu_migrate_context(&pmu, cpu, target);
	return 0;
}}

static int {name}_init(void)
{{
	return cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "{name}", {name}_up, {name}_down);
}}
"""
DRIVERS = [f"drivers/{name}.c" for name in ("one", "two", "three")]
MASKS = (
    "#ifndef X\n#define X\nint cpumask_any_but(const void *m, int c);\n"
    "int cpumask_test_cpu(int c, const void *m);\n#define cpu_dying_mask 0\n#define cpu_active_mask 0\n"
    "#define for_each_cpu(c, m) for (;;)\n#endif\n"
)
TEXT = "While CPUs go down in parallel the target may be going down, too."


def small(folder):
    return tree(
        folder,
        paths={
            "include/linux/cpumask.h": MASKS,
            "drivers/Makefile": "obj-y += one.o two.o three.o\n",
            **{p: DRIVER.format(name=p[8:-2]) for p in DRIVERS},
        },
    )


def with_helper(text):
    return text[: text.rindex("#endif")].rstrip("\n") + "\n" + HELPER


def replaced(new=NEW):
    return lambda text: text.replace(OLD, new)


def helper_first(root, *, text="Add a helper for CPUs that go down in parallel."):
    maker = Maker(root)
    return maker.patch(
        "cpumask: Add cpumask_not_dying_but()",
        text,
        {"include/linux/cpumask.h": with_helper},
    )


def looked(root, maker, folder):
    return review(read_series(maker.mbox(folder / "series.mbox")), open_tree(root))


@pytest.fixture
def root(tmp_path):
    return small(tmp_path / "tree")


def test_pick_replaced_in_all_drivers(root, tmp_path):
    maker = helper_first(root).patch(
        "cpuhp: Replace the online pick in all drivers",
        TEXT,
        {path: replaced() for path in DRIVERS},
    )
    found = looked(root, maker, tmp_path)
    assert found.is_clean
    assert len(found.removed) == 3
    assert not found.introduced
    helper, use = found.patches
    assert not helper.removed and helper.need.is_needed
    assert "cpumask_not_dying_but" in helper.need.broken[0]
    assert len(use.removed) == len(use.need.left) == 3
    assert [c.after.mask for c in use.changes] == ["N"] * 3
    assert use.claims[0].verdict == "holds"
    assert use.claims[0].is_total


def test_pick_replaced_in_all_but_one(root, tmp_path):
    maker = helper_first(root).patch(
        "cpuhp: Replace the online pick in all drivers",
        TEXT,
        {path: replaced() for path in DRIVERS[1:]},
    )
    found = looked(root, maker, tmp_path)
    claim = found.patches[1].claims[0]
    assert claim.verdict == "refuted"
    assert claim.places == ("drivers/one.c:11",)
    assert not found.is_clean


def test_typo_is_a_name_from_nowhere(root, tmp_path):
    maker = helper_first(root).patch(
        "cpuhp: Use the helper",
        TEXT,
        {DRIVERS[0]: replaced("cpumask_not_dieing_but(cpu_online_mask,")},
    )
    found = looked(root, maker, tmp_path)
    (damage,) = found.patches[1].damages
    assert (damage.file, damage.line) == (DRIVERS[0], 11)
    assert "uses cpumask_not_dieing_but, which nothing" in damage.text
    assert not found.is_clean


def test_lost_bracket_is_seen(root, tmp_path):
    maker = Maker(root).patch(
        "one: Tidy", "", {DRIVERS[0]: lambda t: t.replace("nr_cpu_ids)", "nr_cpu_ids")}
    )
    (damage,) = looked(root, maker, tmp_path).patches[0].damages
    assert "does not parse" in damage.text


def test_new_bug_is_introduced(root, tmp_path):
    wrong = HELPER.replace("!cpumask_test", "cpumask_test")
    maker = Maker(root)
    maker.patch(
        "cpumask: Add a helper",
        "",
        {"include/linux/cpumask.h": lambda t: with_helper(t).replace(HELPER, wrong)},
    ).patch("cpuhp: Use a pick without dying CPUs", TEXT, {DRIVERS[0]: replaced()})
    found = looked(root, maker, tmp_path)
    assert not found.removed
    assert len(found.patches[1].turned) == 1
    (stay,) = [f for f in found.after.findings if f.chain[0].file == DRIVERS[0]]
    assert stay.mask == "A"
    assert found.patches[1].claims[0].verdict == "refuted"

    def last(text):
        return text.replace(
            "\tunsigned int target;\n",
            "\tunsigned int target;\n\n\tif (num_online_cpus() == 1)\n\t\treturn 0;\n",
        )

    maker = Maker(root).patch("one: Leave early", "", {DRIVERS[0]: last})
    found = looked(root, maker, tmp_path)
    assert [f.rule for f in found.introduced] == ["last-one-out"]
    assert not found.is_clean


def test_lock_that_makes_it_worse(root, tmp_path):
    def locked(text):
        lines = "\traw_spin_lock(&pmu->pmu_lock);\n\ttarget ="
        text = text.replace("\ttarget =", lines, 1)
        return (
            "static irqreturn_t handle(int irq, void *data)\n{\n"
            "\traw_spin_lock(&pmu->pmu_lock);\n\treturn 0;\n}\n" + text
        ).replace("target);\n", "target);\n\traw_spin_unlock(&pmu->pmu_lock);\n")

    maker = Maker(root).patch(
        "one: Take a lock to make the teardown safe in parallel",
        "",
        {DRIVERS[0]: locked},
    )
    found = looked(root, maker, tmp_path)
    assert {f.rule for f in found.introduced} == {
        "lock-irq-unsafe",
        "lock-not-released",
        "wait-under-lock",
    }
    (claim,) = found.patches[0].claims
    assert claim.verdict == "refuted"


def test_a_callback_with_another_name_has_the_same_hazards(root, tmp_path):
    maker = Maker(root)
    rename = {DRIVERS[0]: lambda text: text.replace("one_down", "one_offline")}
    maker.patch("one: Rename the callback", "", rename)
    more = {DRIVERS[0]: lambda text: text.replace("one_offline(u", "one_offline(/**/u")}
    maker.patch("one: Say more", "", more)
    found = looked(root, maker, tmp_path)
    assert found.is_clean and not found.removed
    renamed = found.patches[0]
    assert not (renamed.removed or renamed.introduced or renamed.need.left)
    assert [c.after.chain[0].function for c in renamed.turned] == ["one_offline"]
    assert [text.split(" then ")[1] for text in renamed.need.broken] == [
        f"does not apply to {DRIVERS[0]}"
    ]


def test_second_patch_for_the_same_is_redundant(root, tmp_path):
    maker = Maker(root)
    active = "cpumask_any_but(cpu_active_mask,"
    comment = {DRIVERS[0]: lambda t: t.replace("\nstatic int one_up", "\n/* up */\n"
                                               "static int one_up")}  # fmt: skip
    maker.patch("one: Pick from the active mask", TEXT, {DRIVERS[0]: replaced(active)})
    maker.patch("one: Say more", "", comment)
    found = looked(root, maker, tmp_path)
    assert found.patches[0].need.is_needed
    assert not found.patches[1].need.is_needed


def test_changes_of_the_table(root, tmp_path):
    maker = Maker(root).patch(
        "one: Move to the perf state",
        "",
        {
            DRIVERS[0]: lambda t: t.replace(
                "CPUHP_AP_ONLINE_DYN", "CPUHP_AP_PERF_ONLINE"
            )
        },
    )
    (patch,) = looked(root, maker, tmp_path).patches
    (change,) = patch.table.changed
    assert change.columns == (("state", "CPUHP_AP_ONLINE_DYN", "CPUHP_AP_PERF_ONLINE"),)


def test_what_does_not_apply_is_told_and_the_rest_goes_on(root, tmp_path):
    stale = DRIVER.format(name="two").replace("nr_cpu_ids", "nr_cpus")
    box = tmp_path / "s.mbox"
    box.write_text(
        mail(
            "cpuhp: Replace",
            TEXT,
            [
                diff(DRIVERS[1], stale, stale.replace(OLD, NEW)),
                diff("drivers/none.c", "int a;\n", "int b;\n"),
                diff("../evil.c", None, "int a;\n"),
                diff(DRIVERS[0], *(t(DRIVER.format(name="one")) for t in
                                   (str, replaced("cpumask_any_but(cpu_active_mask,")))),
            ],
        )
    )  # fmt: skip
    (patch,) = review(read_series(box), open_tree(root)).patches
    reasons = [(f.file, f.reason) for f in patch.applied.failures]
    assert reasons == [
        (DRIVERS[1], 'the file has no line "if (target >= nr_cpus)"'),
        ("drivers/none.c", "the tree has no such file"),
        ("../evil.c", "its path leads out of the tree"),
    ]
    assert patch.applied.failures[0].hunk.header.startswith("@@ -")
    assert patch.applied.touched == (DRIVERS[0],)
    assert len(patch.removed) == 1
    result = CliRunner().invoke(command, [str(box), "--tree", str(root)])
    assert result.exit_code == 1
    assert "> @@ -" in result.output


@pytest.mark.parametrize(
    "edit, offset, fuzz",
    [
        (lambda t: "\n\n" + t, 2, 0),
        (lambda t: t.replace("\tperf_pmu", "\tnew_pmu"), 0, 1),
    ],
)
def test_hunks_move(root, tmp_path, edit, offset, fuzz):
    maker = Maker(root).patch(
        "one: Pick", "", {DRIVERS[0]: replaced("cpumask_any_but(cpu_active_mask,")}
    )
    series = read_series(maker.mbox(tmp_path / "s"))
    place = root / DRIVERS[0]
    place.write_text(edit(place.read_text()))
    (patch,) = review(series, open_tree(root)).patches
    (shift,) = patch.applied.shifts
    assert (shift.offset, shift.fuzz > 0) == (offset, bool(fuzz))
    assert not patch.applied.failures


def test_what_is_there_already(root, tmp_path):
    maker = Maker(root).patch("one: Pick", "", {DRIVERS[0]: replaced("pick(")})
    series = read_series(maker.mbox(tmp_path / "s"))
    place = root / DRIVERS[0]
    place.write_text(place.read_text().replace(OLD, "pick("))
    (failure,) = review(series, open_tree(root)).patches[0].applied.failures
    assert failure.reason == "what it adds is there already"


def test_files_come_go_and_move(root, tmp_path):
    box = tmp_path / "s.patch"
    old = DRIVER.format(name="one")
    box.write_text(
        diff("drivers/new.c", None, old.replace("one", "new"))
        + diff(DRIVERS[1], DRIVER.format(name="two"), None)
        + f"diff --git a/{DRIVERS[0]} b/drivers/moved.c\nsimilarity index 100%\n"
        f"rename from {DRIVERS[0]}\nrename to drivers/moved.c\n"
    )
    found = review(read_series(box), open_tree(root))
    assert {f.file for f in found.after.findings} == {
        "drivers/new.c",
        "drivers/moved.c",
        "drivers/three.c",
    }


def test_the_tree_is_left_alone(root, tmp_path):
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    looked(root, helper_first(root), tmp_path)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


def test_link_in_the_tree_is_not_patched(root, tmp_path):
    outside = tmp_path / "outside.c"
    outside.write_text("int a;\n")
    (root / "drivers/link.c").symlink_to(outside)
    box = tmp_path / "s.patch"
    box.write_text(diff("drivers/link.c", "int a;\n", "int b;\n"))
    (failure,) = review(read_series(box), open_tree(root)).patches[0].applied.failures
    assert failure.file == "drivers/link.c"


def test_mail_is_plain_and_narrow(root, tmp_path):
    maker = Maker(root).patch(
        "one: Die \N{LATIN SMALL LETTER E WITH ACUTE}" + "x" * 30 + " CPUs" * 20,
        "Fix a race \N{EM DASH} CPUs that go down in parallel pick each other.",
        {DRIVERS[0]: replaced("cpumask_any_but(cpu_active_mask,")},
    )
    box = tmp_path / "s"
    box.write_text(mail(*maker.patches[0]), "utf-8")
    output = CliRunner().invoke(command, [str(box), "--tree", str(root)]).output
    assert output.isascii()
    assert max(map(len, output.splitlines())) <= 80
    assert output.count("> ") >= 3
    assert "VIOLATED" in output and "PROVED" in output


def test_what_takes_the_place_of_a_hazard_tells_what_it_needs(root, tmp_path):
    maker = Maker(root).patch(
        "one: Pick from the active mask",
        "Avoid a target that goes down in parallel.",
        {DRIVERS[0]: replaced("cpumask_any_but(cpu_active_mask,")},
    )
    box = maker.mbox(tmp_path / "s")
    told = CliRunner().invoke(command, [str(box), "--tree", str(root)]).output
    said = " ".join(told.split())
    needs = (
        "all CPUs of a batch have left cpu_active_mask before the first one runs this"
    )
    assert f"[target-from-active-mask]: right only if {needs}" in said
    assert f"This holds: 1 finding gone, none of the kind left in the files that it touches; what stands there now is right only if {needs}" in said  # fmt: skip
    assert f"PROVED with every number of CPUs claim: finally owner == none || owner == boot given: {needs}" in said  # fmt: skip


def test_a_series_without_claims_is_not_counted_out(root, tmp_path):
    add = {DRIVERS[0]: lambda text: text + "\nint one_more;\n"}
    box = Maker(root).patch("one: Add a number", "", add).mbox(tmp_path / "s")
    told = CliRunner().invoke(command, [str(box), "--tree", str(root)]).output
    assert "Does it do what it says? It says nothing of parallelism.\n" in told


def test_json_has_everything(root, tmp_path):
    maker = helper_first(root).patch("one: Use it", TEXT, {DRIVERS[0]: replaced()})
    box = maker.mbox(tmp_path / "s")
    result = CliRunner().invoke(
        command, [str(box), "--tree", str(root), "--format", "json"]
    )
    data = json.loads(result.output)
    assert result.exit_code == 0
    assert [p["group"] for p in data["patches"]] == ["Needed", "Needed"]
    (change,) = data["patches"][1]["changes"]
    assert change["before"]["model"]["verdict"] == "VIOLATED"
    assert change["after"]["model"]["verdict"] == "PROVED"


def test_a_callback_that_a_patch_makes_unreadable_is_told(root, tmp_path):
    hidden = "#define CALLBACK(n) static int n(unsigned int cpu)\nCALLBACK(two_down)\n"
    maker = Maker(root).patch(
        "two: Use a macro",
        TEXT,
        {
            DRIVERS[1]: lambda text: text.replace(
                "static int two_down(unsigned int cpu)\n", hidden
            )
        },
    )
    box = maker.mbox(tmp_path / "s")
    args = [str(box), "--tree", str(root), "--no-models"]
    told = CliRunner().invoke(command, args).output
    assert "\nNote: drivers/two.c:" in told
    assert all(len(line) <= 80 for line in told.splitlines())
    data = json.loads(CliRunner().invoke(command, [*args, "--format", "json"]).output)
    (sentence,) = data["unread"]
    assert "teardown two_down of" in sentence and "was not looked at" in sentence
    # Nobody knows then whether the hazard is gone.
    assert "It hides, in callbacks that nobody can read then, 1 hazard:" in told
    assert "It removes 0 hazards and introduces 0, and hides 1;" in told
    assert "Hiding: 1." in told
    assert not data["removed"] and len(data["hidden"]) == 1 and not data["clean"]
    (changed,) = data["patches"][0]["changes"]
    assert changed["unread"] and changed["after"] is None


def test_a_hazard_that_a_patch_brings_to_light_is_not_its_own(tmp_path):
    plain = "static int one_down(unsigned int cpu)\n"
    macro = "#define CALLBACK(n) static int n(unsigned int cpu)\nCALLBACK(one_down)\n"
    root = small(tmp_path / "tree")
    place = root / DRIVERS[0]
    place.write_text(place.read_text().replace(plain, macro))
    clear = {DRIVERS[0]: lambda text: text.replace(macro, plain)}
    found = looked(root, Maker(root).patch("one: No macro", TEXT, clear), tmp_path)
    assert not found.introduced and found.is_clean
    (shown,) = found.patches[0].stays
    assert shown.chain[0].function == "one_down"


def test_directory_and_quilt_series(root, tmp_path):
    maker = helper_first(root).patch("one: Use it", TEXT, {DRIVERS[0]: replaced()})
    folder = tmp_path / "patches"
    folder.mkdir()
    for number, patch in enumerate(maker.patches):
        (folder / f"{9 - number}.patch").write_text("".join(patch[2]))
    assert [p.subject for p in read_series(folder).patches] == ["8.patch", "9.patch"]
    (folder / "series").write_text("# first\n9.patch\n8.patch -p1\n")
    assert [p.subject for p in read_series(folder).patches] == ["9.patch", "8.patch"]


def test_git_range(root, tmp_path):
    def git(*words):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        subprocess.run(["git", "-C", root, *identity, *words], check=True,
                       capture_output=True)  # fmt: skip

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "start")
    place = root / DRIVERS[0]
    place.write_text(place.read_text().replace(OLD, "cpumask_any_but(cpu_active_mask,"))
    git("commit", "-qam", "one: Fix a race of CPUs that go down in parallel")
    result = CliRunner().invoke(command, ["HEAD~1..HEAD", "--tree", str(root)])
    assert result.exit_code == 0
    assert "It removes 1 hazard:" in result.output
    plain = CliRunner().invoke(command, ["a..b", "--tree", str(small(root / "in"))])
    assert "it is no git repository" in str(plain.exception)
    wrong = CliRunner().invoke(command, ["nowhere..HEAD", "--tree", str(root)])
    assert "there is no commit 'nowhere'" in str(wrong.exception)


@pytest.mark.parametrize(
    "make, code",
    [
        (lambda p: p / "none", "HP640"),
        (lambda p: (p / "x").write_text("hello\n") and p / "x", "HP642"),
        (lambda p: (p / "d").mkdir() or p / "d", "HP642"),
        (lambda p: "x:..y", "HP640"),
    ],
)
def test_what_is_no_series(root, tmp_path, make, code):
    with pytest.raises(InputError, match=code):
        CliRunner().invoke(
            command,
            [str(make(tmp_path)), "--tree", str(root)],
            catch_exceptions=False,
        )


def test_replies_are_passed_over_and_patches_sorted(root, tmp_path):
    maker = helper_first(root).patch("one: Use it", TEXT, {DRIVERS[0]: replaced()})
    mails = [mail(*p, n, 2) for n, p in enumerate(maker.patches, 1)]
    reply = mails[0].replace("Subject: ", "Subject: Re: ")
    box = tmp_path / "s"
    box.write_text(mails[1] + reply + mails[0])
    assert [p.number for p in read_series(box).patches] == [1, 2]


def test_damaged_diff_is_one_failure(root, tmp_path):
    good = diff(DRIVERS[0], DRIVER.format(name="one"), replaced("f(")(
        DRIVER.format(name="one")))  # fmt: skip
    bad = re.sub(r"@@ -(\d+),\d+", r"@@ -\1,99", good).replace("one.c", "two.c")
    patch = read_mail((bad + good).encode(), "s")
    assert [bool(c.problem) for c in patch.changes] == [True, False]


# The real trees


@pytest.fixture(scope="module", params=["6.1", "6.12"])
def real(request, tmp_path_factory):
    folder = real_tree(request.param, tmp_path_factory.mktemp("tree"))
    if folder is None:
        pytest.skip(f"linux-source-{request.param} is not installed")
    users = [
        str(p.relative_to(folder))
        for p in sorted((folder / "drivers").rglob("*.c"))
        if OLD.encode() in p.read_bytes() and "lkdtm" not in p.parts  # no teardown
    ]
    return folder, users


def real_series(folder, users, new=NEW):
    return helper_first(folder).patch(
        "drivers: Replace cpumask_any_but(cpu_online_mask, cpu) in all drivers",
        TEXT,
        {path: replaced(new) for path in users},
    )


def test_errors_are_documented():
    codes = set()
    for path in [*(ROOT / "cpuhp").glob("*/*.py")]:
        codes |= set(re.findall(r'"(HP6[1-4]\d)"', path.read_text()))
    page = (ROOT / "docs/errors.md").read_text()
    assert codes
    assert not {code for code in codes if code not in page}


@pytest.mark.kernel
@pytest.mark.slow
def test_real_drivers(real, tmp_path):
    folder, users = real
    full = looked(folder, real_series(folder, users), tmp_path)
    use = full.patches[1]
    assert len({f.chain[0].file for f in use.removed}) == len(users)
    assert not full.introduced and not use.damages and not use.applied.failures
    assert use.need.is_needed and full.patches[0].need.is_needed

    short = looked(folder, real_series(folder, users[:-1]), tmp_path)
    left = {f.chain[0].file for f in short.after.findings if f.mask == "A"}
    assert users[-1] in left
    assert any(users[-1] in place for place in short.patches[1].claims[0].places)

    typo = looked(
        folder,
        real_series(folder, users[:1], "cpumask_not_dieing_but(cpu_online_mask,"),
        tmp_path,
    )
    assert "cpumask_not_dieing_but" in typo.patches[1].damages[0].text
