"""What a run is asked to do: one model for the command line, the run form in Prefect's UI, and the help of both."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from migrator.backup import MAX_LOCK_MS
from migrator.files import is_text
from migrator.migration import Answers


def default_database() -> Path:
    """LTMC_DATABASE, else DB_PATH (the application's own variable), else ltmc.db in the working directory."""
    return Path(os.environ.get("LTMC_DATABASE") or os.environ.get("DB_PATH") or "ltmc.db")


def real_file(database: Path) -> Path:
    """The file that a symlink leads to: locks, journals and backups belong to it."""
    return Path(os.path.realpath(database))


class MigrationRequest(BaseModel):
    """Migrate one SQLite database, or show what that would do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database: Path = Field(
        default_factory=default_database,
        description="The database file. Default: $LTMC_DATABASE, else $DB_PATH, else ltmc.db.",
    )
    to: int | None = Field(
        None,
        ge=0,
        le=9999,
        title="To version",
        description="The schema version to reach; 0000 undoes everything. Default: the newest.",
    )
    dry_run: bool = Field(False, description="Show the plan and change nothing.")
    backup_dir: Path | None = Field(
        None, description="Where backups go. Default: DATABASE.backups beside the database."
    )
    report: Path | None = Field(None, description="Also write the report as JSON to this file.")
    max_lock_ms: float = Field(
        MAX_LOCK_MS,
        gt=0,
        title="Longest lock (ms)",
        description="How many milliseconds the application's writes may have to wait.",
    )
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

    @field_validator("backup_dir", "report")
    @classmethod
    def _is_text(cls, given: Path | None) -> Path | None:
        if given is not None and not is_text(given):
            raise ValueError(f"{os.fsencode(given)!r} is not UTF-8")
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
    def real_database(self) -> Path:
        return real_file(self.database)

    @property
    def preflight_options(self) -> dict[str, Any]:
        """The keyword arguments that preflight takes."""
        return {
            "to_version": self.to,
            "answers": self.answers,
            "backup_dir": self.backup_dir,
            "only_look": self.dry_run,
        }


class RestoreRequest(BaseModel):
    """Put a backup in the place of a database, after saving its present state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database: Path = Field(
        default_factory=default_database,
        description="The database file. Default: $LTMC_DATABASE, else $DB_PATH, else ltmc.db.",
    )
    backup: Path = Field(description="The backup.db to go back to.")
    discard_later_writes: bool = Field(
        False, description="Go back although the database holds rows or a schema that the backup has not."
    )

    @property
    def real_database(self) -> Path:
        return real_file(self.database)
