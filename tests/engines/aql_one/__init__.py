"""An evaluator of AQL written from IBM's guide: documented semantics, never claimed to be QRadar.

Statements are read in `syntax`, columns and their kinds stand in fields.yml, expressions are answered in `evaluate`,
statements in `select`. Where the guide leaves a question open, `strict` runs raise `Undocumented` if the answer
depends on it (`readings_one`).
"""

from engines.readings_one import Undocumented

from .answer import run
from .errors import AqlError

__all__ = ["AqlError", "Undocumented", "run"]
