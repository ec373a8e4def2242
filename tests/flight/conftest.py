"""The flight recorder's scenes are those of the safety chain."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "safety"))
