"""The packed engine without Ray, over the trials of a small sweep: `python in_process.py FOLDER TRIALS THREADS`.

Prints the seconds from before its imports to the last result: what a launch is compared with.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from small_sweep import write_sweep


def main() -> None:
    folder, trials, threads = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
    _, jobs, setup = write_sweep(folder, trials)
    started = time.monotonic()
    from trainables.jobs import go_on, no_report
    from trainables.packed.engine import PackedEngine

    engine = PackedEngine(replace(setup, threads=threads))
    engine.warm(jobs[0].trial)
    engine.preflight([job.trial for job in jobs])
    with ThreadPoolExecutor(engine.slots) as pool:
        list(pool.map(lambda job: engine.run(job, no_report, go_on), jobs))
    print(time.monotonic() - started)


if __name__ == "__main__":
    main()
