import gzip
import io
import json
import re

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernel_trace_maker import (
    BRINGUP,
    KICK,
    ONLINE,
    STEPS,
    TEARDOWN,
    Kernel,
    booted,
    known_table,
)

from cpuhp.cli.conform import command
from cpuhp.diagnostics import InputError, Source
from cpuhp.kernel.tables.states_file import parse_states
from cpuhp.kernel.traces.conform import conform
from cpuhp.kernel.traces.costs import quantile
from cpuhp.kernel.traces.events import parse_trace
from cpuhp.kernel.traces.operations import OperationKind, Rule
from cpuhp.kernel.traces.ties import by_time, untangle


def check(lines, known=None):
    text = lines if isinstance(lines, str) else "\n".join(lines) + "\n"
    return conform(parse_trace(io.StringIO(text), "trace"), known or known_table())


def down_and_up():
    kernel = booted()
    for cpu in (1, 2, 3):
        kernel.down(cpu)
    for cpu in (1, 2, 3):
        kernel.up(cpu)
    return kernel


def at(lines, *texts):
    """Index of the first line after the boot that has all texts."""
    half = next(i for i, line in enumerate(lines) if "kick_ap_work" in line)
    return next(
        i for i, line in enumerate(lines) if i > half and all(t in line for t in texts)
    )


def rules_of(answer):
    return {deviation.rule for deviation in answer.deviations}


@pytest.mark.parametrize("workqueue, rcu", [(188, 190), (190, 188)])
def test_functions_are_held_against_the_order_of_the_states_file(workqueue, rcu):
    rows = {86: "cpu:bringup", 144: "ap:online", 145: "cpu:teardown", 236: "online"}
    rows |= {workqueue: "workqueue:online", rcu: "RCU/tree:online"}
    text = "".join(f"{number}: {rows[number]}\n" for number in sorted(rows))
    known = parse_states(Source("states", text))
    shipped = down_and_up().text
    other = {"workqueue_o": "rcutree_o", "rcutree_o": "workqueue_o"}
    swapped = re.sub("|".join(other), lambda match: other[match[0]], shipped)
    for trace, fits in ((shipped, workqueue == 188), (swapped, workqueue != 188)):
        wrong = [d for d in check(trace, known).deviations if d.rule is Rule.FUNCTION]
        assert len(wrong) == (0 if fits else 18)


def test_down_and_up_conforms():
    answer = check(down_and_up().text)
    assert answer.conforms
    assert answer.explained == len(answer.operations) == 9
    kinds = [operation.kind for operation in answer.operations]
    assert kinds.count(OperationKind.TEAR_DOWN) == 3
    assert {(o.before, o.after) for o in answer.operations} == {
        (0, ONLINE),
        (ONLINE, 0),
    }


FIELDS = re.compile(r"\s*(\S+)-(\d+)\s+\[(\d+)\] \S+\s+(\S+:)\s(\S+:)\s+(.*)")


def as_perf(lines):
    """What perf records of it: nothing of a CPU from its own step on."""
    deaf = set()
    for line in lines:
        comm, pid, on, time, event, rest = FIELDS.fullmatch(line).groups()
        if on not in deaf:
            yield f"{comm:>16} {pid:>5} [{on}] {time:>15} {'cpuhp:' + event:>24} {rest}"
        if "(perf_event_exit_cpu)" in line:
            deaf.add(on)


def test_perf_hears_nothing_more_of_a_cpu_that_went_down():
    lines = down_and_up().lines[len(booted().lines) :]
    heard = list(as_perf(lines))
    assert len(heard) < len(lines) - 30
    answer = check(heard)
    assert answer.conforms
    assert answer.explained == len(answer.operations) == 6
    assert not answer.overlaps


def test_what_perf_heard_of_a_cpu_is_checked():
    heard = list(as_perf(down_and_up().lines))
    first = at(heard, "cpu: 0002", "sched_cpu_deactivate")
    assert "cpuhp_exit" in heard[first + 1]
    assert Rule.ORDER in rules_of(check(heard[:first] + heard[first + 2 :]))


def test_a_gap_begins_where_its_cpu_was_last_heard():
    lines = down_and_up().lines
    kick = at(lines, "cpu: 0002", "kick_ap_work")
    inner = [i for i in range(kick, kick + 60) if "cpuhp/2-22" in lines[i]]
    back = next(i for i in range(inner[-1], len(lines)) if "cpuhp/2-22" in lines[i + 1])
    gap = lines[: inner[0]] + lines[inner[-1] + 1 : back + 1]
    assert not check(gap + lines[back + 1 :]).conforms
    answer = check([*gap, "CPU:2 [26 EVENTS DROPPED]", *lines[back + 1 :]])
    assert answer.conforms and answer.lost == 1
    assert not check([*gap, "CPU:3 [26 EVENTS DROPPED]", *lines[back + 1 :]]).conforms


INJECTABLE = sorted({*STEPS, BRINGUP, TEARDOWN})


@pytest.mark.parametrize("step", INJECTABLE)
@pytest.mark.parametrize("way", ["up", "down"])
def test_every_injected_failure_conforms(step, way):
    kernel = down_and_up()
    if way == "up":
        kernel.down(2)
        kernel.fail[2] = step
        kernel.up(2)
    elif step > BRINGUP:
        kernel.fail[2] = step
        kernel.down(2)
    kernel.fail.clear()
    if kernel.state[2] == 0:
        kernel.up(2)
    kernel.down(3)
    answer = check(kernel.text)
    assert not answer.deviations
    assert answer.explained == len(answer.operations)


@pytest.mark.parametrize("step", [31, 45, 151, 188, 193, 235])
def test_real_failure_is_rolled_back(step):
    kernel = down_and_up()
    kernel.down(2)
    kernel.real = True
    kernel.fail[2] = step
    kernel.up(2)
    kernel.up(2)
    answer = check(kernel.text)
    assert answer.conforms
    (failed,) = [o for o in answer.operations if o.rolled_back]
    assert failed.result < 0
    assert failed.after == 0


def test_parallel_bringup_is_seen():
    kernel = Kernel()
    kernel.state[0] = ONLINE
    for cpu in (1, 2, 3):
        kernel.up(cpu, target=KICK)
    for cpu in (1, 2, 3):
        kernel.up(cpu)
    known = known_table()
    row = known.table.find(f"name{KICK}")
    states = tuple(
        type(row)(s.number, s.name, "CPUHP_BP_KICK_AP" if s is row else None)
        for s in known.table.states
    )
    table = type(known.table)(
        "toy",
        states,
        BRINGUP,
        TEARDOWN,
        known.table.dynamic,
        known.table.prepare_dynamic,
    )
    answer = check(kernel.text, type(known)(table))
    assert answer.conforms
    (wave,) = answer.parallel
    assert wave.cpus == (1, 2, 3)
    assert wave.most_at_once == 3


def test_registration_is_one_operation():
    kernel = booted()
    kernel.register(193, (0, 1, 2, 3))
    answer = check(kernel.text)
    (registered,) = [o for o in answer.operations if o.step == 193]
    assert registered.cpus == (0, 1, 2, 3)
    assert answer.conforms


def test_registration_that_leaves_a_cpu_out_deviates():
    kernel = booted()
    kernel.register(193, (0, 1, 3))
    kernel.down(1)
    assert rules_of(check(kernel.text)) == {Rule.REGISTRATION}


def swap(lines):
    i = at(lines, "step: 193", "enter")
    lines[i : i + 4] = lines[i + 2 : i + 4] + lines[i : i + 2]


def wrong_task(lines):
    i = at(lines, "step: 193", "enter")
    for j in (i, i + 1):
        lines[j] = re.sub(r"cpuhp/\d-\d+ \[\d+\]", "init-1 [000]", lines[j])


def wrong_cpu(lines):
    i = at(lines, "step: 188", "enter", "[001]")
    for j in (i, i + 1):
        lines[j] = lines[j].replace("[001]", "[002]")


def on_the_dead_cpu(lines):
    i = at(lines, "step:  31", "enter")
    cpu = re.search(r"cpu: (\d+)", lines[i])[1]
    for j in (i, i + 1):
        lines[j] = lines[j].replace("[000]", f"[{int(cpu):03}]")


def no_exit(lines):
    del lines[at(lines, "step: 188", "exit")]


def no_enter(lines):
    del lines[at(lines, "step: 188", "enter")]


def wrong_direction(lines):
    i = at(lines, "step: 188", "enter")
    lines[i] = lines[i].replace("target: 145", "target: 236")
    lines[i + 1] = lines[i + 1].replace("state: 187", "state: 188")


def other_target(lines):
    i = at(lines, "step: 188", "enter")
    lines[i] = lines[i].replace("target: 145", "target: 150")


def twice(lines):
    i = at(lines, "step: 188", "enter")
    lines[i + 2 : i + 2] = lines[i : i + 2]


def instance_twice(lines):
    i = at(lines, "step: 152", "enter", "cpu: 0002")
    lines[i + 2 : i + 2] = lines[i : i + 2]


def left_out(lines):
    i = at(lines, "step: 188", "enter", "cpu: 0002")
    del lines[i : i + 2]


def wrong_state(lines):
    i = at(lines, "step: 188", "exit")
    lines[i] = lines[i].replace("state: 187", "state: 188")


def failure_ignored(lines):
    i = at(lines, "step: 188", "exit")
    lines[i] = lines[i].replace("ret: 0", "ret: -22")


def other_function(lines):
    i = at(lines, "step: 150", "enter", "cpu: 0002")
    lines[i] = lines[i].replace("(smpboot_park_threads)", "(bogus)")


def no_kick(lines):
    del lines[at(lines, "kick_ap_work")]


def overlap(lines):
    i = at(lines, "step: 188", "enter", "cpu: 0001")
    j = at(lines, "kick_ap_work", "cpu: 0002")
    lines[i:i] = [lines[j].replace("kworker/0:1-10", "kworker/0:9-99")]
    del lines[j + 1]


def swap_lines(lines, i):
    clock = [re.search(r"\d+\.\d+:", line)[0] for line in lines[i : i + 2]]
    other = lines[i + 1].replace(clock[1], clock[0])
    lines[i : i + 2] = [other, lines[i].replace(clock[0], clock[1])]


def thread_before_its_kick(lines):
    swap_lines(lines, at(lines, "kick_ap_work", "cpu: 0002"))


def returns_elsewhere(lines):
    i = at(lines, "step: 188", "exit", "[001]")
    lines[i] = lines[i].replace("[001]", "[002]")


def control_on_the_dead_cpu(what):
    def mutate(lines):
        i = at(lines, *what)
        lines[i] = lines[i].replace("[000]", "[002]")

    return mutate


def step_that_hangs(lines):
    i = at(lines, "step:  11", "exit", "cpu: 0001")
    lines[i:] = [line.replace("kworker/0:1-10", "kworker/0:9-99") for line in lines[i:]]
    del lines[i]


@pytest.mark.parametrize(
    "mutate, rule",
    [
        (thread_before_its_kick, Rule.HAND_OVER),
        (returns_elsewhere, Rule.CONTEXT),
        (control_on_the_dead_cpu(("enter", "takedown_cpu", "cpu: 0002")), Rule.CONTEXT),
        (control_on_the_dead_cpu(("exit", "step: 145", "cpu: 0002")), Rule.CONTEXT),
        (control_on_the_dead_cpu(("exit", "step:  31", "cpu: 0002")), Rule.CONTEXT),
        (control_on_the_dead_cpu(("enter", "bringup_cpu", "cpu: 0002")), Rule.CONTEXT),
        (step_that_hangs, Rule.EXCLUSION),
        (swap, Rule.ORDER),
        (wrong_task, Rule.CONTEXT),
        (wrong_cpu, Rule.CONTEXT),
        (on_the_dead_cpu, Rule.CONTEXT),
        (no_exit, Rule.PAIRING),
        (no_enter, Rule.PAIRING),
        (wrong_direction, Rule.DIRECTION),
        (other_target, Rule.TARGET),
        (twice, Rule.ORDER),
        (instance_twice, Rule.ORDER),
        (left_out, Rule.ORDER),
        (wrong_state, Rule.STATE),
        (failure_ignored, Rule.ROLLBACK),
        (other_function, Rule.FUNCTION),
        (no_kick, Rule.HAND_OVER),
        (overlap, Rule.EXCLUSION),
    ],
)
def test_mutated_trace_deviates(mutate, rule):
    lines = down_and_up().lines
    mutate(lines)
    answer = check(lines)
    assert rule in rules_of(answer)
    assert answer.explained < len(answer.operations)
    assert all(d.message and d.allowed for d in answer.deviations)


def test_deviation_stands_where_it_happens():
    lines = down_and_up().lines
    twice(lines)
    first = check(lines).deviations[0]
    assert "step: 188" in lines[first.line - 1]
    assert first.allowed


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(INJECTABLE)), max_size=8))
def test_any_sequence_of_failures_conforms(plan):
    kernel = down_and_up()
    for cpu, step in plan:
        if kernel.state[cpu] == 0:
            kernel.fail[cpu] = step
            kernel.up(cpu)
        elif step > BRINGUP:
            kernel.fail[cpu] = step
            kernel.down(cpu)
        else:
            kernel.down(cpu)
        kernel.fail.clear()
    answer = check(kernel.text)
    assert not answer.deviations


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cut_trace_has_no_deviation(data):
    lines = down_and_up().lines
    first = data.draw(st.integers(0, len(lines) - 2))
    last = data.draw(st.integers(first + 1, len(lines)))
    answer = check(lines[first:last])
    assert not answer.deviations


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 200), st.integers(1, 40))
def test_marked_loss_has_no_deviation(start, length):
    lines = down_and_up().lines
    lines[start : start + length] = [f"CPU:0 [LOST {length} EVENTS]"]
    answer = check(lines)
    assert not answer.deviations
    assert answer.lost == 1


@pytest.mark.parametrize("order", [1, -1])
def test_standing_clock_is_no_deviation(order):
    lines = [re.sub(r"\d+\.\d+:", "1.5:", line) for line in down_and_up().lines]
    half = next(i for i, line in enumerate(lines) if "kick_ap_work" in line)
    for part in (lines[:half], lines[half:]):
        by_cpu = sorted(part, key=lambda line: order * int(line.split("[")[1][:3]))
        kept = [line.replace("1.5:", "0.5:") for line in lines[:half]]
        answer = check(by_cpu if part == lines[:half] else [*kept, *by_cpu])
        assert not answer.deviations


def test_table_is_told_from_the_trace():
    lines = down_and_up().lines
    answer = conform(parse_trace(io.StringIO("\n".join(lines)), "trace"))
    assert answer.kernel == "6.12"


def test_a_kick_returns_when_its_thread_has():
    kernel = booted()
    kernel.down(1)
    lines = kernel.lines
    last = max(i for i, line in enumerate(lines) if "cpuhp/1-21" in line)
    # The first tear-down of all: nothing else tells that the step has to end.
    assert rules_of(check(lines[:last] + lines[last + 1 :])) == {Rule.HAND_OVER}


@pytest.mark.parametrize("name", ["takedown_cpu", "bringup_cpu"])
def test_steps_that_wait_have_a_function_of_their_own(name):
    lines = down_and_up().lines
    i = at(lines, name, "cpu: 0002")
    lines[i] = lines[i].replace(name, "bogus")
    answer = conform(parse_trace(io.StringIO("\n".join(lines)), "trace"))
    assert [d.rule for d in answer.deviations] == [Rule.FUNCTION]


def test_a_version_that_nothing_tells_is_said_to_be_taken_for_granted():
    lines = down_and_up().lines
    end = next(i for i, line in enumerate(lines) if "bringup_cpu" in line)
    for last, told in ((end, False), (end + 1, True)):
        text = "\n".join(lines[:last])
        answer = conform(parse_trace(io.StringIO(text), "trace"))
        notes = [text for _, text in answer.notes]
        assert answer.conforms
        assert any("taken for 6.12" in note for note in notes) is not told


def test_two_recordings_in_one_file_are_told_apart():
    lines = down_and_up().lines
    answer = check(lines + lines)
    assert answer.conforms and answer.lost == 1
    assert answer.explained == len(answer.operations) == 18
    ((line, note),) = answer.notes
    assert line == len(lines) + 1 and "time goes back" in note


def test_what_a_step_took_is_never_less_than_nothing():
    lines = down_and_up().lines
    backwards = [
        re.sub(r"(\d+\.\d+):", lambda m: f"{9 - float(m[1]):.6f}:", line)
        for line in lines
    ]
    answer = check(backwards)
    assert not answer.checked and not answer.conforms
    assert not answer.costs
    assert answer.lost == len(lines) - 1


def test_two_events_in_one_line_are_a_damaged_line():
    lines = down_and_up().lines
    i = at(lines, "step: 188", "enter")
    lines[i : i + 2] = [f"{lines[i]} {lines[i + 1]}"]
    answer = check(lines)
    assert answer.lost == 1
    assert any("damaged line" in note for _, note in answer.notes)


def test_lines_that_are_out_of_order_are_told():
    lines = down_and_up().lines
    i = at(lines, "cpu: 0001", "bringup_cpu")
    lines[i:] = [re.sub(r"(\d+\.\d+):", lambda m: f"{float(m[1]) - .05:.6f}:", line)
                 for line in lines[i:]]  # fmt: skip
    assert rules_of(check(lines)) == {Rule.TIME}
    console = [
        f"[ {FIELDS.fullmatch(line)[4]} {FIELDS.fullmatch(line)[5]} "
        f"{FIELDS.fullmatch(line)[6]}"
        for line in lines
    ]
    console = [re.sub(r"(\d):", r"\1]", line, count=1) for line in console]
    assert rules_of(check(console)) == {Rule.TIME}
    console[i:] = [
        re.sub(r"\d+\.\d+", lambda m: f"{float(m[0]) + 0.0495:.6f}", line)
        for line in console[i:]
    ]
    assert check(console).conforms


def test_many_tasks_at_one_time_take_no_time():
    lines = []
    for cpu in range(400):
        task = f"cpuhp/{cpu}-{cpu + 9} [{cpu:03}] d.... 1.5:"
        lines.append(f"{task} cpuhp_enter: cpu: {cpu:04} target: 236 step: 188 (f)")
        task = f"t-{cpu + 9000} [{cpu + 1:03}] ..... 1.5:"
        lines.append(f"{task} cpuhp_enter: cpu: {cpu:04} target: 236 step:  86 (g)")
    seen = []
    before = by_time(parse_trace(io.StringIO("\n".join(lines)), "trace"))
    (tied,) = list(before)

    class Now:
        def __getattr__(self, name):
            seen.append(name)
            return lambda *_: name == "encloses"

    assert len(list(untangle(tied, lambda e: (e.comm, e.pid, e.on), Now()))) == 800
    assert len(seen) < 800 * 400


def test_costs_count_every_call():
    answer = check(down_and_up().text)
    cost = next(c for c in answer.costs if c.step == 56)
    assert cost.calls == 6 * 3
    assert cost.median == pytest.approx(0.001)
    assert [cpu for cpu, *_ in cost.per_cpu] == [1, 2, 3]


def test_quantiles_are_values_of_the_sample():
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert quantile([7.0], 0.99) == 7.0


def run(path, *options):
    return CliRunner().invoke(command, [str(path), *options])


def test_command_says_that_a_trace_conforms(tmp_path):
    path = tmp_path / "good.trace.gz"
    path.write_bytes(gzip.compress(down_and_up().text.encode()))
    result = run(path, "--operations", "--costs")
    assert result.exit_code == 0
    assert "CONFORMS: 9 of 9 operations explained (100.0 %)" in result.output
    assert "CPU1 236 -> 0" in result.output


def test_command_shows_deviations(tmp_path):
    lines = down_and_up().lines
    twice(lines)
    path = tmp_path / "bad.txt"
    path.write_text("\n".join(lines) + "\n")
    result = run(path)
    assert result.exit_code == 1
    assert "deviation[order]: CPU1: step 188" in result.output
    assert "allowed: " in result.output
    number = re.search(r"bad.txt:(\d+):", result.output)[1]
    assert f"{number} | " in result.output


def test_json_has_the_same_answer(tmp_path):
    path = tmp_path / "good.trace"
    path.write_text(down_and_up().text)
    answer = json.loads(run(path, "--json").output)
    assert answer["conforms"] is True
    assert answer["explained"] == len(answer["operations"]) == 9
    assert answer["operations"][0]["kind"] == "bringup"


def test_states_file_beside_the_trace_is_used(tmp_path):
    path = tmp_path / "good.trace"
    path.write_text(down_and_up().text)
    (tmp_path / "good.states").write_text("nonsense\n")
    result = run(path)
    assert isinstance(result.exception, InputError)
    assert "good.states:1:1" in result.exception.render()


def test_a_trace_without_a_whole_call_is_not_said_to_conform(tmp_path):
    path = tmp_path / "one.trace"
    path.write_text(down_and_up().lines[0] + "\n")
    result = run(path)
    assert result.exit_code == 2
    assert "NOTHING CHECKED: 1 events" in result.output
    assert json.loads(run(path, "--json").output)["checked"] is False


def test_unusable_trace_is_an_input_error(tmp_path):
    path = tmp_path / "empty"
    path.write_text("")
    assert isinstance(run(path).exception, InputError)
