"""(b) The same trials one after another in one process, the base loaded once; (e) and (f) are made of it."""

from __future__ import annotations

import sys

from benchmarks.peers.job import Job, job_of_command, mark, tokenized_of


def main(job: Job) -> int:
    """Train and evaluate the chosen trials in turn."""
    import torch

    torch.set_num_threads(job.threads)
    from benchmarks.peers.trainer import load_model, train_one, with_adapter
    from trainables.modeling.peft_lora import detach

    work, tokenized = job.read_work(), tokenized_of(job)
    base = load_model(work, job)
    mark(job, "started")
    for index in job.chosen:
        train = work.trials[index].train
        mark(job, "entered", index)
        model = with_adapter(base, train)
        mark(job, "ready", index)

        def evaluated(step: int, loss: float, index: int = index) -> None:
            mark(job, "evaluated", index, step=step, eval_loss=loss)

        train_one(model, tokenized, train, job, evaluated)
        base = detach(model)
        mark(job, "ended", index)
    return 0


if __name__ == "__main__":
    sys.exit(main(job_of_command()))
