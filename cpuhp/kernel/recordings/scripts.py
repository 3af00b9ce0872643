"""What a guest or a machine does while it is recorded, and what comes back.

A script is written `down-up`, `boot`, `smt-off-on`, `kexec`, `fail:STATE` or `fail:all`;
a guest runs it as shell text, the machine at hand runs it in here.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cpuhp.diagnostics import fail, suggestion

PLAIN = ("boot", "down-up", "smt-off-on", "kexec")
WITH_STATE = ("fail", "target")

_STATE = re.compile(r"[\w./:+-]{1,64}")


@dataclass(frozen=True, slots=True)
class Script:
    """One thing to do; `state` is a hotplug state's number or name, or `all`."""

    name: str
    state: str | None = None

    def __str__(self) -> str:
        return self.name if self.state is None else f"{self.name}:{self.state}"


@dataclass(frozen=True)
class Recording:
    """What came back: the two files' texts and what the script had to say."""

    states: str
    trace: str
    notes: tuple[str, ...] = ()


def parse_script(text: str) -> Script:
    """Raises InputError HP443."""
    name, colon, state = text.partition(":")
    if name in PLAIN and not colon:
        return Script(name)
    if name in WITH_STATE and _STATE.fullmatch(state):
        return Script(name, state)
    if name in WITH_STATE:
        raise fail("HP443", f"'{name}' needs a hotplug state, such as {name}:188")
    known = (*PLAIN, "fail:STATE", "fail:all", "target:STATE")
    raise fail(
        "HP443",
        f"unknown script '{text}'",
        help=suggestion(text, known) or "scripts are " + ", ".join(known),
    )


_HEAD = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mount -t tracefs tracefs /sys/kernel/tracing
$b stty -F {device} raw -echo 2>/dev/null
exec 3>{device}
cd /sys/devices/system/cpu
last={last}
say() {{ echo "@@note $*" >&3; }}
cpus() {{ $b seq 1 $last; }}
put() {{ echo $1 > cpu$2/online; }} 2>/dev/null
need() {{ [ $($b cat cpu$2/online) = $1 ] || put $1 $2; }}
at() {{ $b cat cpu$1/hotplug/state; }}
arm() {{ echo $1 > cpu$2/hotplug/fail; }} 2>/dev/null
one_way() {{
  way=down; [ $2 = 1 ] && way=up
  need $((1 - $2)) $3
  if arm $1 $3; then
    put $2 $3; say "fail $1 $way cpu $3 result $? state $(at $3)"
  else
    say "fail $1 $way cpu $3 refused"
  fi
  arm -1 $3
}}
both_ways() {{ one_way $1 0 $2; one_way $1 1 $2; need 1 $2; }}
number() {{
  case $1 in *[!0-9]*) ;; *) echo $1; return ;; esac
  while read n name; do [ "$name" = "$1" ] && echo ${{n%:}}; done < hotplug/states
}}
say "uname $($b uname -r) $($b uname -m)"
"""

_TAIL = """
{ echo @@states; $b cat hotplug/states; echo @@trace
  $b cat /sys/kernel/tracing/trace; echo @@end; } >&3
$b sleep 1
$b poweroff -f
"""

_SCRIPTS = {
    "boot": "",
    "down-up": "for c in $(cpus); do put 0 $c; done\n"
    "for c in $(cpus); do need 1 $c; done\n",
    # Nothing comes back from the jump; tp_printk puts the trace on the console.
    "kexec": "{ echo @@states; $b cat hotplug/states; echo @@kexec; } >&3\n"
    '$b sleep 1\n/bin/kexec; say "kexec refused, errno $?"\n',
    "smt-off-on": 'say "smt $($b cat smt/active)"\n'
    "echo off > smt/control; echo on > smt/control\n",
    "fail": 's=$(number "{state}")\n[ -n "$s" ] || say "no state {state}"\n'
    '[ -n "$s" ] && for c in $(cpus); do both_ways $s $c; done\n',
    "fail:all": "c=1\nfor s in $($b sed 's/:.*//' hotplug/states); do\n"
    "  both_ways $s $c; c=$((c % last + 1))\ndone\n",
    "target": 's=$(number "{state}")\n[ -n "$s" ] || say "no state {state}"\n'
    '[ -n "$s" ] && for c in $(cpus); do\n'
    "  { echo $s > cpu$c/hotplug/target; } 2>/dev/null; "
    'say "target $s cpu $c result $? state $(at $c)"\n'
    "  put 0 $c; { echo $s > cpu$c/hotplug/target; } 2>/dev/null\n"
    '  say "target $s cpu $c result $? state $(at $c)"; put 0 $c; put 1 $c\ndone\n',
}


def shell(scripts: tuple[Script, ...], cpus: int, device: str) -> str:
    """The init program of a guest with that many CPUs, printing to `device`."""
    body = ""
    for script in scripts:
        key = str(script) if str(script) in _SCRIPTS else script.name
        body += f'say "script {script}"\n'
        body += _SCRIPTS[key].replace("{state}", script.state or "")
    return _HEAD.format(device=device, last=cpus - 1) + body + _TAIL
