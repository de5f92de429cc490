"""Errors that a person can act on: what failed, where, and what to do.

The tree:

    ImdswatchError              anything a user can mend; the command ends with exit code 2
    ├── UsageError              the command line asks for something that cannot be
    ├── SiteError               the site file is wrong
    ├── RuleError               a Sigma rule is invalid, or uses what this program cannot run
    ├── SchemaError             a schema file is invalid
    └── HostError               a host cannot be changed as asked; nothing of it was changed

"Could not look at this input" is no error but a result: `imdswatch.finding.Skipped`.
"""

from __future__ import annotations


class ImdswatchError(Exception):
    """A mistake in what the user gave us, with its place and what to do about it.

    `str()` of it is the message to print: the failure, then `--> file:line` where a place is known,
    then `help:` where there is advice. It never contains log content, so it can never leak a secret.
    """

    def __init__(self, what: str, *, file: str = "", line: int = 0, help: str = "") -> None:
        self.what, self.file, self.line, self.help = what, file, line, help
        super().__init__(what)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return "\n".join(
            [self.what]
            + ([f"  --> {place}"] if place else [])
            + ([f"  help: {self.help}"] if self.help else [])
        )


class UsageError(ImdswatchError):
    """The command line asks for something that cannot be done."""


class SiteError(ImdswatchError):
    """The site file is unreadable or says something that has no meaning."""


class RuleError(ImdswatchError):
    """A Sigma rule is invalid, or needs what this program refuses to guess."""


class SchemaError(ImdswatchError):
    """A schema file is invalid."""


class HostError(ImdswatchError):
    """A host cannot be changed as asked; what was changed already has been put back."""
