"""The errors of this package: one root, facts as fields, a message that names object, fault and way out."""

from __future__ import annotations

from pathlib import Path


class MigratorError(Exception):
    """Root of every error that this package raises on purpose.

    `way_out` is what the reader should do next; it is part of the message.
    """

    def __init__(self, fault: str, way_out: str = "") -> None:
        self.fault = fault
        self.way_out = way_out
        super().__init__(f"{fault}; {way_out}" if way_out else fault)


class RefusedError(MigratorError):
    """The database or the request does not fit; raised before anything was changed."""


class BackupError(MigratorError):
    """The backup differs from what was read of live, or could not be made."""


class BackupGoneError(BackupError):
    """The directory of the run went away in the middle of it: removed, or with the disk that it was on."""

    def __init__(self, directory: Path, met: object) -> None:
        super().__init__(
            f"{directory} is gone, removed or with what the backups are kept on ({met}); live unchanged",
            "bring back what the backups are kept on, then start again, which makes a new one",
        )


class RehearsalError(MigratorError):
    """A step on the candidate did not yield what the migration declares."""


class ProbeError(MigratorError):
    """A tool's probe read back a value that the tool would not return."""


class ValidationError(MigratorError):
    """A gate on the candidate failed."""


class PromotionError(MigratorError):
    """The promotion was rolled back; live holds what it held before."""


class LockTooLongError(PromotionError):
    """The one-transaction promotion held the write lock longer than allowed."""


class NotOnlineError(PromotionError):
    """The tables or the migration have something that only one transaction can carry over."""


class VerificationError(MigratorError):
    """Live differs, after the promotion, from what was rehearsed."""


class RestoreError(MigratorError):
    """Restoring failed: the operator must act."""
