"""What `python -m flows.check` is asked."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from flows.request import DatabaseRequest, LongestLock
from migrator.backup import MAX_LOCK_MS


class CheckRequest(DatabaseRequest):
    """Show the migrations of a database, what the next run would do, and what is not as it should be; not one byte of
    the database is changed.

    Exit code 0: all is as it should be, also where a migration is pending, and where the source has only what that
    mends. 2: something is not: drift, SQL that fails after the pending migrations, a CREATE TABLE in another form, a
    source file that cannot be read, a new migration that is undecided or would fail. 1: it could not be told; wrong
    arguments end so too.
    """

    max_lock_ms: LongestLock = MAX_LOCK_MS
    docs: Path | None = Field(None, description="Write the schema's documentation to DIR/schema.md.")
    logs: list[Path] = Field(
        default_factory=list,
        description="Logs of the application, packed or not: count the columns and tables that it has missed since the "
        "last promotion. A time without a zone in them is this machine's local time (TZ).",
    )
    source: Path | None = Field(
        None,
        description="The application's Python source, which is read and never run: compile its SQL against the schema "
        "as it is and as it will be, and compare its CREATE TABLE statements.",
    )
    exclude: list[str] = Field(
        default_factory=list,
        description="With --source: leave out the files and folders whose path below DIR matches, as 'vendor' or "
        "'old/*.py'. May be given several times.",
    )
    sarif: Path | None = Field(None, description="With --source: also write what was found as SARIF 2.1.0 to FILE.")
    write_schema: Path | None = Field(
        None,
        description="Show the change that brings the CREATE TABLE statements of this Python file in line with the "
        "schema as it will be.",
    )
    apply: bool = Field(False, description="With --write-schema: make that change.")
    new: str | None = Field(
        None, description="Write the next migration, called NAME, which leads to the desired schema; say what it does."
    )
    desired: Path | None = Field(
        None,
        validate_default=True,
        description="With --new: a file of CREATE statements, the whole schema as it shall be: what is not in it goes.",
    )
    rename: list[str] = Field(
        default_factory=list,
        description="With --new: TABLE.OLD=TABLE.NEW, a column that is renamed and not dropped. May be given several "
        "times.",
    )

    @field_validator("exclude", "sarif")
    @classmethod
    def _has_source(cls, given: list[str] | Path | None, info: ValidationInfo) -> list[str] | Path | None:
        if given and info.data.get("source") is None:
            raise ValueError("it needs --source")
        return given

    @field_validator("apply")
    @classmethod
    def _has_file(cls, given: bool, info: ValidationInfo) -> bool:
        if given and info.data.get("write_schema") is None:
            raise ValueError("it needs --write-schema")
        return given

    @field_validator("desired")
    @classmethod
    def _belongs_to_new(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        if (given is None) != (info.data.get("new") is None):
            raise ValueError("--new and --desired belong together")
        return given

    @field_validator("rename")
    @classmethod
    def _are_renames(cls, given: list[str], info: ValidationInfo) -> list[str]:
        if given and info.data.get("new") is None:
            raise ValueError("it needs --new")
        for entry in given:
            if [side.count(".") for side in entry.split("=")] != [1, 1]:
                raise ValueError(f"{entry!r} is not TABLE.OLD=TABLE.NEW")
        return given

    @property
    def renames(self) -> dict[str, str]:
        """The new name of a column by the old one, both with their table."""
        return dict(entry.split("=") for entry in self.rename)
