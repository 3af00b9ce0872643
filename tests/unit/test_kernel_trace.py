import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpuhp.diagnostics import InputError
from cpuhp.kernel.traces.conform import conform
from cpuhp.kernel.traces.events import (
    Event,
    Kind,
    Lost,
    Marker,
    parse_trace,
    quote_lines,
    read_trace,
)

BODY = "cpu: 0001 target:  85 step:   1 (smpboot_create_threads)"
EXIT = "cpuhp_exit:  cpu: 0001  state:   1 step:   1 ret: -11"


def items(text):
    return list(parse_trace(io.StringIO(text), "trace"))


def one(line):
    (event,) = items(line + "\n")
    return event


@pytest.mark.parametrize(
    "line, comm, pid, on, irqs_off",
    [
        (f"  init-1 [000] .....  0.704036: cpuhp_enter: {BODY}", "init", 1, 0, False),
        (f"  init-1 [000] d..2.  0.704036: cpuhp_enter: {BODY}", "init", 1, 0, True),
        (f" <idle>-0 [003] D....  0.704036: cpuhp_enter: {BODY}", "<idle>", 0, 3, True),
        (f" a b-c-77 [001] ..... 0.704036: cpuhp_enter: {BODY}", "a b-c", 77, 1, False),
        (f" <...>-77 [001] ..... 0.704036: cpuhp_enter: {BODY}", "<...>", 77, 1, False),
        (f"init-1   (  1) [000] ..... 0.704036: cpuhp_enter: {BODY}", "init", 1, 0, 0),
        (f"  init-1  [000]  0.704036: cpuhp_enter:    {BODY}", "init", 1, 0, None),
        (f" init/-1     0.....   0.704036: cpuhp_enter:  {BODY}", "init/", 1, 0, False),
        (f" <idle>-0   12d..2.  0.704036: cpuhp_enter: {BODY}", "<idle>", 0, 12, True),
        (
            f"w/0:2-m  8 [000]  0.704036: cpuhp:cpuhp_enter: {BODY}",
            "w/0:2-m",
            8,
            0,
            None,
        ),
        (f"init   1 [000]  0.704036: cpuhp:cpuhp_enter: {BODY}", "init", 1, 0, None),
        (f"init 1/2 [000]  0.704036: cpuhp:cpuhp_enter: {BODY}", "init", 1, 0, None),
        (f"[    0.704036] cpuhp_enter: {BODY}", "", -1, -1, None),
        (f"[    0.704036][    T9] cpuhp_enter: {BODY}\r", "", 9, -1, None),
    ],
)
def test_every_tool_gives_the_same_event(line, comm, pid, on, irqs_off):
    event = one(line)
    assert (event.comm, event.pid, event.on) == (comm, pid, on)
    assert event.irqs_off == irqs_off
    assert event.kind is Kind.ENTER
    assert event.time == 0.704036
    assert (event.cpu, event.level, event.step) == (1, 85, 1)
    assert event.function == "smpboot_create_threads"


def test_exit_has_result():
    event = one(f"cpuhp/1-22 [001] ..... 1.5: {EXIT}")
    assert (event.kind, event.level, event.ret) == (Kind.EXIT, 1, -11)


def test_raw_fields_of_trace_cmd_are_read():
    head = "init-1 [000]  0.704036: cpuhp_"
    enter = one(f"{head}multi_enter:  cpu=0001 target=85 idx=1 fun=f")
    exit_ = one(f"{head}exit:         cpu=0001 state=0 idx=1 ret=-11")
    assert (enter.cpu, enter.level, enter.step, enter.function) == (1, 85, 1, "f")
    assert (exit_.cpu, exit_.level, exit_.step, exit_.ret) == (1, 0, 1, -11)


@pytest.mark.parametrize(
    "printed, plain",
    [
        ("f+0x0", "f"),
        ("f+0x0/0x40 [mod]", "f"),
        ("f.isra.0", "f"),
        ("f [mod]", "f"),
        ("0xffffffff81000000", ""),
        ("ffffffff81000000", ""),
    ],
)
def test_function_is_plain(printed, plain):
    line = "init-1 [000] ..... 1.0: cpuhp_enter: cpu: 0001 target: 85 step: 1 "
    assert one(line + f"({printed})").function == plain


def test_clock_without_a_point_is_read():
    assert one(f"init-1 [000] ..... 123456: cpuhp_enter: {BODY}").time == 123456.0


@pytest.mark.parametrize(
    "mark",
    [
        "CPU:3 [LOST 123 EVENTS]",
        "CPU:1 [EVENTS DROPPED]",
        "CPU 0: 12 EVENTS LOST",
    ],
)
def test_lost_events_are_marked(mark):
    _, lost = items(f"init-1 [000] ..... 1.0: cpuhp_enter: {BODY}\n{mark}\n")
    assert isinstance(lost, Lost) and not lost.damaged


def test_overrun_buffer_is_noted():
    text = "# entries-in-buffer/entries-written: 5/9   #P:8\n"
    marker, _ = items(text + f"init-1 [000] ..... 1.0: cpuhp_enter: {BODY}\n")
    assert isinstance(marker, Marker)
    assert "5 of 9" in marker.text


def test_half_a_line_at_the_end_is_a_cut():
    line = f"init-1 [000] ..... 1.0: cpuhp_enter: {BODY}\n"
    *_, lost, marker = items(line + line[:50])
    assert lost.damaged
    assert "cut" in marker.text


def test_other_events_are_passed_over():
    text = "init-1 [000] ..... 1.0: sched_switch: prev_comm=cpuhp_x\n"
    assert len(items(text + f"init-1 [000] ..... 1.0: cpuhp_enter: {BODY}\n")) == 1


@pytest.mark.parametrize(
    "data, code",
    [
        (b"", "HP423"),
        (b"# tracer: nop\n", "HP423"),
        (b"\x00" * 100, "HP421"),
        (b"\x17\x08\x44tracing6\x00", "HP421"),
        (b"PERFILE2xxxx", "HP421"),
        (b"\x1f\x8b not gzip", "HP423"),
        (b"cpuhp_enter: what\n", "HP423"),
    ],
)
def test_useless_file_is_refused(tmp_path, data, code):
    path = tmp_path / "trace"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        list(read_trace(path))
    assert caught.value.diagnostics[0].code == code
    assert caught.value.render()


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        list(read_trace(tmp_path / "none"))
    assert caught.value.diagnostics[0].code == "HP420"


def test_gzip_and_cut_gzip(tmp_path):
    line = f"init-1 [000] ..... 1.0: cpuhp_enter: {BODY}\n"
    packed = gzip.compress("".join(line for _ in range(2000)).encode())
    whole, cut = tmp_path / "whole.gz", tmp_path / "cut.gz"
    whole.write_bytes(packed)
    cut.write_bytes(packed[:-20])
    assert len(list(read_trace(whole))) == 2000
    *events, marker = read_trace(cut)
    assert isinstance(marker, Marker) and "cut" in marker.text
    assert events


def test_lines_can_be_quoted(tmp_path):
    path = tmp_path / "trace"
    path.write_text("one\n two\x1b\nthree\n")
    assert quote_lines(path, [2, 3]) == {2: "two ", 3: "three"}


WORDS = """
init-1 [000] ..... d.... 1.5: cpuhp_enter: cpuhp_exit: cpuhp_multi_enter: cpu: 0001 0002
target: state: step: 1 85 86 145 236 150 (f) (takedown_cpu) ret: 0 -11 cpuhp/1-20 [001]
(cpuhp_kick_ap_work) (bringup_cpu) <idle>-0 -1 [LOST #
"""
words = st.sampled_from([*WORDS.split(), "\n", "\0"])


@settings(max_examples=150)
@given(st.lists(words, max_size=60))
def test_any_text_gives_an_answer_or_an_error(parts):
    try:
        answer = conform(parse_trace(io.StringIO(" ".join(parts)), "trace"))
    except InputError as error:
        assert error.render()
    else:
        assert answer.events


event_lines = st.builds(
    lambda task, kind, cpu, level, step, tail: (
        f"{task} 1.5: cpuhp_{kind}: cpu: {cpu:04} "
        f"{'state' if kind == 'exit' else 'target'}: {level} step: {step} "
        + (f"ret: {-11 * (tail == 'f')}" if kind == "exit" else f"({tail})")
    ),
    st.sampled_from(["init-1 [000] .....", "cpuhp/1-20 [001] .....", "k-9 [0] d...."]),
    st.sampled_from(["enter", "exit", "multi_enter"]),
    st.integers(0, 2),
    st.sampled_from([0, 1, 85, 86, 144, 145, 146, 150, 235, 236, -1]),
    st.sampled_from([1, 2, 85, 86, 90, 145, 149, 150, 235, 236, -1]),
    st.sampled_from(["f", "g", "bringup_cpu", "takedown_cpu", "cpuhp_kick_ap_work"]),
)


@settings(max_examples=300)
@given(st.lists(event_lines, min_size=1, max_size=30))
def test_any_events_give_an_answer(lines):
    answer = conform(parse_trace(io.StringIO("\n".join(lines)), "trace"))
    assert answer.events == len(lines)
    assert answer.explained <= len(answer.operations)
    assert isinstance(one(lines[0]), Event)
