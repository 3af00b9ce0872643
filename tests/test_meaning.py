"""What the tool says about a program, against a second reading of it in Python."""

from collections import Counter

import pytest
from program_writer import DECLARATIONS, Piece, Writer, final_states

from cpuhp.api import Settings, load
from cpuhp.language import flow, terms


def written(seed):
    writer = Writer(seed)
    body = writer.program()
    writer.locals = {}
    claims = [Piece("seen", lambda s: s["seen"]), writer.test(), writer.test()]
    text = f"scenario meaning;\n{DECLARATIONS}\nprocess p {{ {body.text} }}\n"
    for number, claim in enumerate(claims):
        text += f"check t{number} {{ never at(p, end) && {claim.text}; }}\n"
    return text, body, claims


def compare(seed, path):
    """How often there is which verdict; none contradicts the second reading."""
    text, body, claims = written(seed)
    path.write_text(text)
    loaded = load(str(path))
    ends = {cpus: final_states(body, cpus) for cpus in range(1, 5)}
    verdicts = Counter()
    for number, claim in enumerate(claims):
        (asked,) = loaded.claims(f"t{number}")
        happens = {n: any(claim(s) for s in states) for n, states in ends.items()}
        for cpus in (2, None):
            answer = loaded.answer(*asked[:2], Settings(cpus=cpus))
            told = (
                f"seed {seed}, t{number}, cpus {answer.cpus}: {answer.verdict}\n{text}"
            )
            verdicts[answer.verdict] += 1
            match answer.verdict, answer.cpus:
                case "PROVED", "all":
                    assert not any(happens.values()), told
                case "PROVED", at:
                    assert not happens[at], told
                case "VIOLATED", at:
                    assert happens[at], told
                case _:
                    assert cpus is None, told  # at a fixed number there is an answer
    return verdicts


@pytest.mark.parametrize("seed", range(60))
def test_a_program_does_what_it_says(seed, tmp_path):
    verdicts = compare(seed, tmp_path / "meaning.hp")
    assert verdicts.total() == 6


def test_there_are_proofs_and_violations(tmp_path):
    verdicts = sum((compare(s, tmp_path / "meaning.hp") for s in range(12)), Counter())
    assert verdicts["PROVED"] > 12
    assert verdicts["VIOLATED"] > 12


FAULTS = {
    "what is assigned is not held": (terms, "held", lambda expr, sort: expr),
    "something is written through none": (flow, "_may_be_none", lambda index: False),
    "what was written is not read": (flow, "_after", lambda effects: lambda e: e),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_reading_a_program_is_noticed(fault, tmp_path, monkeypatch):
    monkeypatch.setattr(*FAULTS[fault])
    if fault == "what is assigned is not held":
        monkeypatch.setattr(flow, "held", lambda expr, sort: expr)
    with pytest.raises(AssertionError, match="^seed"):
        for seed in range(80):
            compare(seed, tmp_path / "meaning.hp")
