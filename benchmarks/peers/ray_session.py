"""A Ray of a peer's own, quiet and on this machine alone."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sweep.ray_driver.cluster import prepare_environment
from sweep.ray_driver.session_folder import new_folder, short_temporary_folder


def start_ray() -> tuple[Path, int]:
    """Start Ray with all cores; return its folder, which is the caller's to remove, and the number of cores."""
    folder = new_folder(Path(short_temporary_folder()))
    prepare_environment(None)
    import ray

    cores = os.cpu_count() or 1
    ray.init(
        address="local",
        num_cpus=cores,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(folder),
    )
    return folder, cores
