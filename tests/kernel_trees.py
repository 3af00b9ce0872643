"""Small kernel trees for tests, and the real ones where they are installed."""

import os
import tarfile
from pathlib import Path

HEADER = """
#ifndef __CPUHOTPLUG_H
#define __CPUHOTPLUG_H
/* enum cpuhp_state { NOT_THIS_ONE }; */
enum cpuhp_state {
	CPUHP_INVALID = -1,
	CPUHP_OFFLINE = 0,
	CPUHP_CREATE_THREADS,
	CPUHP_A_DEAD, CPUHP_B_DEAD,	/* two on a line, a comma in a comment */
	CPUHP_BP_PREPARE_DYN,
	CPUHP_BP_PREPARE_DYN_END	= CPUHP_BP_PREPARE_DYN + 3,
	CPUHP_BRINGUP_CPU,
	CPUHP_AP_IDLE_DEAD,
	CPUHP_AP_OFFLINE,
	CPUHP_AP_TIMER_STARTING,
	CPUHP_AP_ONLINE,
	CPUHP_TEARDOWN_CPU,
	CPUHP_AP_ONLINE_IDLE,
	CPUHP_AP_PERF_ONLINE,
	CPUHP_AP_ONLINE_DYN,
	CPUHP_AP_ONLINE_DYN_END		= CPUHP_AP_ONLINE_DYN + (1 << 2),
	CPUHP_AP_ACTIVE,
	CPUHP_ONLINE,
};
int __cpuhp_setup_state(enum cpuhp_state state, const char *name, bool invoke,
			int (*startup)(unsigned int cpu),
			int (*teardown)(unsigned int cpu), bool multi_instance);
static inline int cpuhp_setup_state(enum cpuhp_state state, const char *name,
				    int (*startup)(unsigned int cpu),
				    int (*teardown)(unsigned int cpu))
{
	return __cpuhp_setup_state(state, name, true, startup, teardown, false);
}
#endif
"""

CORE = """
static struct cpuhp_step cpuhp_hp_states[] = {
	[CPUHP_OFFLINE] = {
		.name			= "offline",
		.startup.single		= NULL,
	},
#ifdef CONFIG_SMP
	[CPUHP_CREATE_THREADS]= {
		.name			= "threads:prepare",
		.startup.single		= make_threads,
		.teardown.single	= NULL,
		.cant_stop		= true,
	},
#ifdef CONFIG_SPLIT
	[CPUHP_BRINGUP_CPU] = {
		.name			= "cpu:bringup",
		.startup.single		= bringup_ap,
	},
#else
	[CPUHP_BRINGUP_CPU] = {
		.name			= "cpu:bringup",
		.startup.single		= bringup_cpu,
	},
#endif
#endif
	[CPUHP_ONLINE] = { .name = "online" },
};
static int bringup_ap(unsigned int cpu) { return 0; }
static int bringup_cpu(unsigned int cpu)
{
	return 0;
}
int __cpuhp_setup_state(enum cpuhp_state state, const char *name, bool invoke,
			int (*startup)(unsigned int cpu),
			int (*teardown)(unsigned int cpu), bool multi_instance)
{
	return __cpuhp_setup_state_cpuslocked(state, name, invoke, startup, teardown,
					      multi_instance);
}
"""

CALLBACKS = """
static int up(unsigned int cpu)
{
	return 0;
}

static int down(unsigned int cpu)
{
	return 0;
}
"""


def tree(folder, **files):
    """A kernel tree in `folder`; keys are paths with __ for / and _c, _h endings."""
    base = {
        "Makefile": "VERSION = 6\nPATCHLEVEL = 99\nSUBLEVEL = 1\nEXTRAVERSION = -rc1\n",
        "Kbuild": "obj-y += kernel/ drivers/\nobj-y += arch/$(SRCARCH)/\n",
        "include/linux/cpuhotplug.h": HEADER,
        "kernel/cpu.c": CORE,
        "kernel/threads.c": "int make_threads(unsigned int cpu)\n{\n\treturn 0;\n}\n",
        "kernel/Makefile": "obj-y = cpu.o threads.o\n",
    }
    named = {
        key.replace("__", "/").replace("_c", ".c").replace("_h", ".h"): text
        for key, text in files.items()
        if key != "paths"
    }
    for path, text in {**base, **named, **files.get("paths", {})}.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            place.write_bytes(text)
        else:
            place.write_text(text)
    return folder


def real_tree(version, folder):
    """The Debian source of a version: unpacked already, or unpacked into `folder`."""
    for place in os.environ.get("CPUHP_KERNEL_TREES", "").split(os.pathsep):
        unpacked = Path(place) / f"linux-source-{version}"
        if place and unpacked.is_dir():
            return unpacked
    archive = Path(f"/usr/src/linux-source-{version}.tar.xz")
    if not archive.is_file():
        return None
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / f"linux-source-{version}"
