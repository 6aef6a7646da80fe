"""The systems that the makespan is measured with, each a program of its own: python -m benchmarks.peers.NAME JOB."""
