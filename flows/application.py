"""The application, for the commands: where its migrations cannot be loaded, a command says so and ends."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from flows.stream import Stream
from migrator.migration import DeclarationError

_EXIT_CODES = {"flows.check": 1, "flows.verify": 1}
_REFUSED = 2


def _end_the_program(error: DeclarationError) -> None:
    """Ends a program of this package with the error in a sentence; returns where none is running.

    With --json stdout holds `outcome` and `error` alone: nothing else is known before the migrations are.
    """
    module = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None) or ""
    program = module.removesuffix(".__main__")
    if not program.startswith("flows."):
        return
    migrator = find_spec("migrator")
    folder = Path((migrator.submodule_search_locations or [""])[0] if migrator else "") / "ltmc" / "migrations"
    text = f"the migrations in {folder} cannot be loaded: {error}"
    code = _EXIT_CODES.get(program, _REFUSED)
    if "--json" in sys.argv:
        told = json.dumps({"outcome": "error" if code == 1 else "refused", "error": text}, indent=2)
        print(told, file=Stream(sys.stdout), flush=True)
    else:
        print(f"python -m {program}: {text}", file=Stream(sys.stderr), flush=True)
    raise SystemExit(code)


try:
    from migrator.ltmc import LTMC as LTMC
except DeclarationError as found:
    _end_the_program(found)
    raise
