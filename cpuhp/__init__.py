"""cpuhp: is it safe to run CPU hotplug callbacks of many CPUs at once?"""

__version__ = "0.1.0"
