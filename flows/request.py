"""What a run is asked to do: one model for the command line, the run form in Prefect's UI, and the help of both."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ByteSize, ConfigDict, Field, field_validator

from migrator.backup import MAX_LOCK_MS
from migrator.backups.retention import Rules
from migrator.backups.store import fault_of
from migrator.errors import RefusedError
from migrator.files import is_text
from migrator.migration import Answers
from migrator.preflight import BACKUPS_SUFFIX
from migrator.tool_server.server import parse_tool_server, refuse_what_cannot_start

T = TypeVar("T")


FORM = ConfigDict(
    extra="forbid",
    frozen=True,
    # In Prefect's run form, as a sentence begins; where the name says no unit, a field has a title of its own.
    field_title_generator=lambda name, _: name.replace("_", " ").capitalize(),
)


def default_database() -> Path:
    """LTMC_DATABASE, else DB_PATH (the application's own variable), else ltmc.db in the working directory."""
    return Path(os.environ.get("LTMC_DATABASE") or os.environ.get("DB_PATH") or "ltmc.db")


def real_file(database: Path) -> Path:
    """The file that a symlink leads to: locks, journals and backups belong to it."""
    return Path(os.path.realpath(database))


def url_without_credentials(given: T) -> T:
    """What is given, where it is none or a URL that holds no credentials; the error does not repeat it."""
    fault = fault_of(given) if isinstance(given, str) else None
    if fault is not None:
        raise ValueError(fault)
    return given


def text_path(given: Path | None) -> Path | None:
    """What is given; what is made there is named in JSON and HTML, so it must be UTF-8."""
    if given is not None and not is_text(given):
        raise ValueError(f"{os.fsencode(given)!r} is not UTF-8")
    return given


LongestLock = Annotated[
    float,
    Field(
        gt=0, title="Longest lock (ms)", description="How many milliseconds the application's writes may have to wait."
    ),
]
OtherBackups = Annotated[
    Path | None,
    Field(description="Where backups were put with flows.migrate --backup-dir, besides those beside the database."),
]


class DatabaseRequest(BaseModel):
    """What is asked about one database."""

    model_config = FORM

    database: Path = Field(
        default_factory=default_database,
        description="The database file. Default: $LTMC_DATABASE, else $DB_PATH, else ltmc.db.",
    )

    @property
    def real_database(self) -> Path:
        return real_file(self.database)


class MigrationRequest(DatabaseRequest):
    """Migrate one SQLite database, or show what that would do."""

    to: int | None = Field(
        None,
        ge=0,
        le=9999,
        title="To version",
        description="The schema version to reach; 0000 undoes everything. Default: the newest.",
    )
    dry_run: bool = Field(False, description="Show the plan and change nothing.")
    baseline: bool = Field(
        False,
        description="Only write the ledger: the database has the schema of that version already, which is compared.",
    )
    backup_dir: Path | None = Field(
        None, description="Where backups go. Default: DATABASE.backups beside the database."
    )
    report: Path | None = Field(None, description="Also write the report as JSON to this file.")
    tool_server: str | None = Field(
        None,
        description="The command that starts the application's tool server, which is then tried on copies: "
        "'COMMAND...' (MCP on stdin and stdout) or 'http://127.0.0.1:PORT COMMAND...' (JSON-RPC at /jsonrpc).",
    )
    max_lock_ms: LongestLock = MAX_LOCK_MS
    map_result: list[str] = Field(
        default_factory=list,
        description="VALUE=pass|fail|partial|null: what an unmapped result becomes. May be given several times.",
    )
    truncate_times: bool = Field(
        False, description="Cut times to whole milliseconds as the plan's SQL does, instead of rounding."
    )
    null_duplicate_vector_ids: bool = Field(
        False, description="Of rows that share a vector id, only the one with the lowest id keeps it."
    )
    copy_to: str | None = Field(
        None,
        description="After the migration, copy its backup to this URL (file:///.., s3://..); a failure is a note.",
    )

    _is_url = field_validator("copy_to")(url_without_credentials)

    _is_text = field_validator("backup_dir", "report")(text_path)

    @field_validator("tool_server")
    @classmethod
    def _can_be_started(cls, given: str | None) -> str | None:
        """The services that it would change are those that the environment says nobody misses, else it is refused."""
        if given is not None:
            # Only this needs the application.
            from flows.application import LTMC

            try:
                refuse_what_cannot_start(parse_tool_server(given))
                LTMC.server_tools.backends()
            except RefusedError as error:
                raise ValueError(str(error)) from None
        return given

    @field_validator("map_result")
    @classmethod
    def _are_assignments(cls, given: list[str]) -> list[str]:
        for entry in given:
            _, equals, value = entry.rpartition("=")
            if not equals or value not in ("pass", "fail", "partial", "null"):
                raise ValueError(f"{entry!r} is not VALUE=pass, VALUE=fail, VALUE=partial or VALUE=null")
        return given

    @property
    def answers(self) -> Answers:
        """The operator's decisions in the words of a migration."""
        mapped = (entry.rpartition("=") for entry in self.map_result)
        switches = ("truncate_times", "null_duplicate_vector_ids")
        return Answers(
            {value: None if target == "null" else target for value, _, target in mapped},
            frozenset(name for name in switches if getattr(self, name)),
        )

    @property
    def preflight_options(self) -> dict[str, Any]:
        """The keyword arguments that preflight takes."""
        return {
            "to_version": self.to,
            "answers": self.answers,
            "backup_dir": self.backup_dir,
            "only_look": self.dry_run,
            "baseline": self.baseline,
        }


class RestoreRequest(DatabaseRequest):
    """Put a backup in the place of a database, after saving its present state. --list shows the backups there are; its
    own options are in --list --help."""

    backup: Path | str = Field(description="The backup.db to go back to, or the URL of one off the machine.")
    discard_later_writes: bool = Field(
        False, description="Go back although the database holds rows or a schema that the backup has not."
    )

    @field_validator("backup")
    @classmethod
    def _is_path_or_url(cls, given: Path | str) -> Path | str:
        return url_without_credentials(given) if "://" in str(given) else Path(given)


class ListRequest(DatabaseRequest):
    """Show the backups of a database, newest first, and the copies of them off the machine."""

    backup_dir: OtherBackups = None
    remote: str | None = Field(None, description="The URL under which copies were put with --copy-to.")
    verify: bool = Field(False, description="Read every backup and compare it with the hash in its manifest.")

    _is_url = field_validator("remote")(url_without_credentials)


class BackupsRequest(DatabaseRequest):
    """Remove the backups of a database that no rule keeps, and first copy those that stay off the machine.

    Kept whatever the rules: the newest verified backup, what a killed run needs, the backup from before the newest
    migration in force, and for 30 days what a restore saved.
    """

    backup_dir: OtherBackups = None
    keep_last: int | None = Field(None, ge=0, description="Keep the N newest ones.")
    keep_daily: int | None = Field(
        None, ge=0, description="Keep the newest one of each of the last N days that have one."
    )
    keep_weekly: int | None = Field(
        None, ge=0, description="Keep the newest one of each of the last N weeks (ISO, UTC) that have one."
    )
    max_bytes: ByteSize | None = Field(
        None,
        ge=0,
        title="Budget (bytes)",
        description="Of what the rules keep, remove the oldest until no more than this is left, such as 20GB.",
    )
    copy_to: str | None = Field(
        None, description="The URL under which each one that stays gets a copy: file:///.., s3://.."
    )
    dry_run: bool = Field(False, description="Show what would stay and what would go.")

    _is_url = field_validator("copy_to")(url_without_credentials)

    @property
    def rules(self) -> Rules:
        return Rules(self.keep_last, self.keep_daily, self.keep_weekly, self.max_bytes)


class VerifyRequest(DatabaseRequest):
    """Check whether a database is healthy, without writing to it, and keep what was found."""

    backup_dir: Path | None = Field(
        None, description="Where the history and the report are kept. Default: DATABASE.backups beside the database."
    )
    report: Path | None = Field(
        None, description="Write the report (.html, and beside it .json) here. Default: health.html beside the history."
    )
    max_lock_ms: LongestLock = MAX_LOCK_MS
    accept_speed: bool = Field(
        False, description="Take the tools' speed of today for the normal one: a slowdown is no fault any more."
    )
    source: Path | None = Field(
        None,
        description="The application's Python source, which is read and never run: tell whether it would make a "
        "migrated table in another form on a new file.",
    )

    _is_text = field_validator("backup_dir", "report")(text_path)

    @field_validator("report")
    @classmethod
    def _is_html(cls, given: Path | None) -> Path | None:
        if given is not None and given.suffix != ".html":
            raise ValueError(f"{str(given)!r} does not end in .html")
        return given

    @property
    def folder(self) -> Path:
        """Where the history is kept, and where snapshots are made."""
        if self.backup_dir is not None:
            return self.backup_dir.resolve()
        return self.real_database.with_name(self.real_database.name + BACKUPS_SUFFIX)
