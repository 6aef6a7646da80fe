"""Launching and the command line; Ray lives here and only here.

`python -m sweep.run` puts the current folder first on the path, and that may hold an `analysis/` of the user's own. So
the rooms below this one are taken from beside it, whatever the path says.
"""

import importlib.util
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def _take_from_beside(room: str) -> None:
    init = _ROOT / room / "__init__.py"
    there = sys.modules.get(room)
    if there is not None and Path(there.__file__ or "").resolve() == init:
        return
    for name in [name for name in sys.modules if name == room or name.startswith(f"{room}.")]:
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location(room, init, submodule_search_locations=[str(init.parent)])
    assert spec is not None, init
    assert spec.loader is not None, init
    module = importlib.util.module_from_spec(spec)
    sys.modules[room] = module
    spec.loader.exec_module(module)


for _room in ("trainables", "analysis", "search_spaces"):
    _take_from_beside(_room)
