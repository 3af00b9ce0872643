"""The bugs of the past: found before their fix, proved absent after it."""

import re
from functools import cache

import pytest

from cpuhp.api import Settings, load
from cpuhp.language.library import data_root

FOLDER = data_root() / "specs/bugs"
FILES = sorted(FOLDER.glob("*.hp"))
COMMIT = re.compile(r"^/// .*\b[0-9a-f]{12}\b", re.MULTILINE)
EVERY_NUMBER = Settings(timeout=60)


@cache
def answers(path, fixed):
    scenario = load(str(path), options={"fixed": fixed})
    own = {item.check for item in scenario.program.expectations}
    return [
        (scenario.answer(check, number, EVERY_NUMBER), scenario.expected(claim))
        for check, number, claim in scenario.claims()
        if check in own
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bug_is_found_before_its_fix_and_not_after(path):
    for answer, expected in answers(path, "true"):
        assert (answer.claim, answer.verdict) == (answer.claim, expected)
        if expected == "PROVED":
            assert answer.cpus == "all", answer.reason
    before = {answer.verdict for answer, _ in answers(path, "false")}
    assert "VIOLATED" in before
    assert before <= {"VIOLATED", "PROVED", "WITNESSED"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bug_is_told_in_one_screen_with_its_question_and_its_commit(path):
    text = path.read_text()
    assert text.count("\n") <= 60
    assert text.startswith("/// ") and "?\n" in text.split("scenario")[0]
    assert COMMIT.search(text)


def test_the_corpus_is_complete():
    assert len(FILES) == 25
