"""Errors a user sees, each with what is wrong, where, and what to do.

Belongs here: the base class and the errors several packages raise. Not here: errors of one package (they
live beside the code that raises them and derive from `LakehouseError`).
"""


class LakehouseError(Exception):
    """Base of every error we raise on purpose; the command line prints it without a traceback.

    `exit_code` is what `ad-lakehouse` exits with: 1 unless a subclass has its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} {remedy}".strip())


class ConfigurationError(LakehouseError):
    """A setting, YAML file or schema is wrong: names file, line, field, value and remedy."""

    exit_code = 2


class ForeignTable(LakehouseError):
    """A Delta table that this product did not create stands where one of ours belongs."""

    exit_code = 3


class NewerFormat(LakehouseError):
    """The lake was written by a newer version of this product."""

    exit_code = 4


class UnreadableTable(LakehouseError):
    """A Delta table's log is damaged, or needs what is not supported (deletion vectors, column mapping)."""

    exit_code = 5
