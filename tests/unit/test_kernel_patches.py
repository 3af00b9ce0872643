"""Patches are applied as git applies them, and what is not applied is told."""

import json
import subprocess

import pytest
from click.testing import CliRunner
from kernel_trees import tree
from patch_series import diff, mail

from cpuhp.cli.review import command
from cpuhp.diagnostics import InputError
from cpuhp.kernel.patches.apply import apply
from cpuhp.kernel.patches.series import read_mail, read_series
from cpuhp.kernel.source.tree import open_tree

LINES = "".join(f"line{n}\n" for n in range(1, 11))
FILE = "drivers/a.c"
HEAD = f"diff --git a/{FILE} b/{FILE}\n--- a/{FILE}\n+++ b/{FILE}\n"
COPY = "diff --git a/{0} b/{1}\nsimilarity index 90%\n{2} from {0}\n{2} to {1}\n"
EDIT = "@@ -1,3 +1,3 @@\n line1\n-line2\n+LINE2\n line3\n"
AS_B = f"--- a/{FILE}\n+++ b/drivers/b.c\n{EDIT}"


def applied(text, **more):
    folder = more["folder"]
    root = tree(folder, paths={FILE: LINES, "drivers/old.c": "old\n"})
    return root, apply(open_tree(str(root)), read_mail(text.encode(), "a patch"))


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "@@ -5,0 +6,1 @@\n+new\n",
        HEAD + "@@ -2,0 +3,1 @@\n+new\n@@ -5,1 +6,1 @@\n-line5\n+LINE5\n",
        HEAD + "@@ -0,0 +1,1 @@\n+new\n@@ -10,0 +12,1 @@\n+last\n",
        COPY.format(FILE, "drivers/b.c", "copy") + AS_B,
        COPY.format(FILE, "drivers/b.c", "copy").replace("90", "100"),
        COPY.format(FILE, "drivers/b.c", "rename") + AS_B,
        diff(FILE, LINES, None),
    ],
)
def test_a_patch_does_what_it_does_in_git(tmp_path, text):
    root, found = applied(text, folder=tmp_path / "tree")
    assert not found.failures
    (tmp_path / "patch").write_text(text)
    subprocess.run(
        ["git", "apply", "--unidiff-zero", str(tmp_path / "patch")],
        cwd=root,
        check=True,
        env={"GIT_CEILING_DIRECTORIES": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert found.touched
    for path in (FILE, "drivers/b.c"):
        after = (root / path).read_bytes() if (root / path).exists() else None
        assert found.tree.read(path) == after


@pytest.mark.parametrize(
    "text, reason",
    [
        (HEAD, "it has no hunk"),
        (HEAD + EDIT.replace("-1,3", "-1, 3"), "a header of a hunk cannot be read"),
        (HEAD + EDIT + "@@ -8,1 +8,1 @\n-line8\n+LINE8\n", "a header of a hunk"),
        (
            HEAD.replace("--git a", "--cc a")
            + EDIT.replace("@@ -1,3", "@@@ -1,3 -1,3"),
            "a header of a hunk cannot be read",
        ),
        (HEAD + "@@ -12,0 +13,1 @@\n+new\n", "the file ends before line 12"),
        (diff(FILE, LINES[:-7], None), "not all of its lines"),
        (COPY.format(FILE, "drivers/old.c", "rename"), "the file exists already"),
        (
            f"diff --git a/{FILE} b/{FILE}\nindex 1..2 100644\nGIT binary patch\n"
            "delta 4\nLc${Nk001\n\n",
            "a binary change",
        ),
    ],
)
def test_what_is_not_applied_is_told(tmp_path, text, reason):
    _, found = applied(text, folder=tmp_path / "tree")
    assert reason in found.failures[0].reason
    assert not found.touched


def test_mails_are_told_apart():
    first = mail("one", "From the log of 12:30 one sees\nit.", [HEAD, EDIT], 1, 2)
    second = mail("two", "text", [HEAD, EDIT], 2, 2)
    for text in (first + second, (first + second).replace("\n", "\r\n")):
        box = text.encode()
        patches = [read_mail(part, "box") for part in split(box)]
        assert [(p.number, p.total) for p in patches] == [(1, 2), (2, 2)]
        assert [len(p.changes) for p in patches] == [1, 1]
        assert "12:30 one sees" in patches[0].text


def split(box):
    from cpuhp.kernel.patches.series import split_mbox

    return split_mbox(box)


def test_the_html_of_a_mail_is_its_text_once_more():
    head, _, body = mail("one", "text", [HEAD, EDIT]).partition("\n\n")
    parts = f"--X\nContent-Type: text/plain\n\n{body}\n--X\nContent-Type: text/html\n\n"
    kind = "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=X"
    patch = read_mail(f"{head}\n{kind}\n\n{parts}{body}\n--X--\n".encode(), "a mail")
    assert len(patch.changes) == 1


def test_a_series_that_is_not_whole_is_told(tmp_path):
    root = tree(tmp_path / "tree", paths={FILE: LINES})
    second = EDIT.replace("line2", "line8").replace("LINE2", "LINE8")
    second = second.replace("1,3", "7,3").replace("line1", "line7")
    second = second.replace("line3", "line9")
    mails = [
        mail("one", "text", [HEAD, EDIT], 1, 4),
        mail("two", "text", [HEAD, second], 3, 4),
    ]
    box = tmp_path / "box"
    box.write_text("".join(mails))
    result = CliRunner().invoke(command, [str(box), "--tree", str(root)])
    assert "not whole: 2 patches of 4 missing, number 2, 4." in result.output
    assert result.exit_code == 1
    box.write_text("".join(mails).replace("3/4]", "2/2]").replace("1/4]", "1/2]"))
    args = [str(box), "--tree", str(root), "--format", "json"]
    result = CliRunner().invoke(command, args)
    assert json.loads(result.output)["missing"] == []
    assert result.exit_code == 0


def test_one_mail_of_a_series_is_not_the_whole_series(tmp_path):
    root = tree(tmp_path / "tree", paths={FILE: LINES})
    box = tmp_path / "box"
    box.write_text(mail("two", "text", [HEAD, EDIT], 2, 5))
    result = CliRunner().invoke(command, [str(box), "--tree", str(root)])
    assert "not whole: 4 patches of 5 missing, number 1, 3, 4, 5." in result.output
    assert result.exit_code == 1
    for whole in ("[PATCH 1/1]", "[PATCH]"):
        box.write_text(box.read_text().replace("[PATCH 2/5]", whole))
        assert whole in box.read_text()
        result = CliRunner().invoke(command, [str(box), "--tree", str(root)])
        assert "not whole" not in result.output and result.exit_code == 0
        box.write_text(box.read_text().replace(whole, "[PATCH 2/5]"))


def test_all_that_quilt_lists_is_read(tmp_path):
    for name in ("a.patch", "more/b.patch"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(HEAD + EDIT)
    series = tmp_path / "series"
    series.write_text("a.patch -p1 # first\nmore/b.patch\n")
    assert [p.source[-7:] for p in read_series(tmp_path).patches] == [
        "a.patch",
        "b.patch",
    ]
    for line, reason in (
        ("c.patch", "line 1: there is no 'c.patch'"),
        ("a.patch -R", "taken back"),
        ("../a.patch", "leads out"),
    ):
        series.write_text(f"{line}\n")
        with pytest.raises(InputError) as caught:
            read_series(tmp_path)
        assert reason in str(caught.value)


def test_merges_of_a_range_are_told(tmp_path):
    root = tree(tmp_path / "tree", paths={FILE: LINES})

    def git(*words):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        command = ["git", "-C", str(root), *identity, *words]
        subprocess.run(command, check=True, capture_output=True)

    def commit(path):
        (root / path).write_text("int x;\n")
        git("add", "-A")
        git("commit", "-qm", path)

    git("init", "-q", "-b", "trunk")
    commit("start.c")
    git("checkout", "-qb", "side")
    commit("side.c")
    git("checkout", "-q", "trunk")
    commit("trunk.c")
    told = []
    for wanted in ("HEAD~1..HEAD", "HEAD^1~1..HEAD"):
        result = CliRunner().invoke(command, [wanted, "--tree", str(root)])
        assert result.exit_code == 0
        told.append("1 merge commit is left out" in result.output)
        git("merge", "-q", "--no-ff", "--no-edit", "side")
    assert told == [False, True]
