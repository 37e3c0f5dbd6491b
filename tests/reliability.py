"""results/reliability.json: what `make fuzz`, `make kill` and `make mutate` counted, each in its own part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "reliability.json"


def write_part(name: str, content: dict[str, Any]) -> None:
    """Put what one command counted in the place of what it counted before."""
    parts = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**parts, name: content}, indent=1, sort_keys=True) + "\n")
