"""How long a scenario takes: schedules, costs, and the claims of the sources.

`schedule` is the heart: tasks with costs, orders and locks in, makespan and critical
path out. `phases` makes such tasks of steps that stand in phases with barriers.
"""
