"""Pages are run with substitutes that other tests have."""

from __future__ import annotations

import sys
from pathlib import Path

for _folder in ("unit", "e2e"):
    sys.path.append(str(Path(__file__).parents[1] / _folder))
