"""What asv follows along the history: see ../README.md."""

import sys
from pathlib import Path

# asv finds this package alone, and not what stands beside it.
sys.path.append(str(Path(__file__).resolve().parents[1]))
