"""(d) without Ray: the packed engine under a driver in the same process."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers.job import Job, job_of_command, mark
from trainables.records.trial_states import TrialState

if TYPE_CHECKING:
    from trainables.records.trial_result import TrialResult


def main(job: Job) -> int:
    """Train and evaluate all trials at once, each in a thread."""
    from benchmarks.in_process import engine_for, jobs_of
    from trainables.jobs import go_on, no_report
    from trainables.records.record import SweepFolder

    work, sweep = job.read_work(), SweepFolder(Path(job.folder))
    engine = engine_for(work, sweep, job.device, threads=job.threads, memory_bytes=job.memory_bytes)
    engine.warm(work.trials[0])
    mark(job, "started")

    def run(index: int, one: Any) -> TrialResult:
        result = engine.run(one, no_report, go_on)  # evaluations are read from the records, as those of (d)
        mark(job, "ended", index)
        return result

    with ThreadPoolExecutor(len(work.trials)) as threads:
        results = list(threads.map(run, range(len(work.trials)), jobs_of(work, sweep)))
    for result in results:
        if result.state != TrialState.DONE:
            print(result.cause, file=sys.stderr)
    return int(any(result.state != TrialState.DONE for result in results))


if __name__ == "__main__":
    sys.exit(main(job_of_command()))
