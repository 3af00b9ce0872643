"""The same answers from a cluster, also when a worker dies on the way."""

import os
import signal

import pytest

from cpuhp.api import load
from cpuhp.diagnostics import InputError
from cpuhp.language.library import data_root
from cpuhp.ordering.questions import Bound, questions
from cpuhp.ordering.variant import variant_of
from cpuhp.ordering.workers import Judges, executor_of

SPEC = data_root() / "specs/bugs/m26-callbacks-migrated-late.hp"


def asked():
    found = []
    for fixed in ("true", "false"):
        base = variant_of(
            load(str(SPEC), options={"fixed": fixed}).program, {"fixed": fixed}
        )
        found += [(base, q) for q in questions(base.checker())]
    return found


def test_an_engine_that_is_none_is_an_error():
    with pytest.raises(InputError, match="HP505"), executor_of("spark://x:1", 1):
        pass


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_workers_and_one_that_is_killed_give_the_same_answer():
    distributed = pytest.importorskip("distributed")
    here = Judges(Bound(2)).findings(asked())
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        host="127.0.0.1",
    ) as cluster:
        victim = next(iter(cluster.workers.values())).pid
        address = cluster.scheduler_address.removeprefix("tcp://")
        killed = []

        def kill_one(done, of):
            if not killed:
                killed.append(victim)
                os.kill(victim, signal.SIGKILL)

        with executor_of(f"dask://{address}", None) as executor:
            judges = Judges(Bound(2), executor, tell=kill_one)
            assert judges.findings(asked()) == here
        assert killed
