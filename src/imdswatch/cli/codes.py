"""Exit codes of all commands (DESIGN 6); 0 is clean and complete."""

FOUND = 1
"""Something was found."""
WRONG = 2
"""Wrong usage or configuration."""
SKIPPED = 3
"""Nothing was found, but something could not be looked at."""
BUG = 70
"""Our own bug."""
