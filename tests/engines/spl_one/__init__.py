"""An evaluator of SPL written from Splunk's manuals: documented semantics, never claimed to be Splunk.

Macros and comments are read in `text`, search expressions in `searching`, eval expressions in `expression` and
`evaluate`, commands in `commands`. Where the manuals leave a question open, `strict` runs raise `Undocumented` if
the answer depends on it (`readings_one`).
"""

from engines.readings_one import Undocumented

from .answer import run
from .errors import SplError

__all__ = ["SplError", "Undocumented", "run"]
