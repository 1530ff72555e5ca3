"""What a fleet's run is asked to do: the databases, their order, and the options that each one's migration gets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from flows.arguments import FOR_PROGRAMS
from flows.request import FORM, MigrationRequest
from flows.server import prefect_home
from migrator.errors import RefusedError
from migrator.fleet.parts import MACHINE, Part
from migrator.fleet.waves import CANARY, Amount, parse_amount, parse_amounts

_OF_EACH = ("to", "backup_dir", "max_lock_ms", "map_result", "truncate_times", "null_duplicate_vector_ids", "copy_to")
"""The options that every database's own migration gets; they are declared where that is."""
_MAY_CHANGE = frozenset({"max_failed", "parallel", "timeout_s", "resume", "retry_failed", "state"})
_MAY_CHANGE |= {"map_result", "null_duplicate_vector_ids", "max_lock_ms"}
"""What a start that resumes may say anew: how to go on, and answers to what was refused; not what was begun."""
_OF_ONE_START = frozenset({"resume", "retry_failed", "state"})
"""What holds for no start after the one that said it."""


def _as_for_one(name: str) -> Any:
    return MigrationRequest.model_fields[name]


class PartOf(BaseModel):
    """Which wave of which fleet a run on one machine is a part of, and what its migrations must be."""

    model_config = FORM

    fleet_id: str = Field(pattern="^[0-9A-Za-z-]+$")
    wave: str = Field(pattern=f"^({CANARY}|wave [0-9]+)$")
    machine: str = Field(pattern=f"^{MACHINE}$")
    checksum: str

    def __str__(self) -> str:
        """What the part is called on its machine; a file is named after it."""
        return f"{self.wave} of {self.fleet_id} on {self.machine}"

    @property
    def is_canary(self) -> bool:
        return self.wave == CANARY


class FleetRequest(BaseModel):
    """Migrate many SQLite databases: a canary first, then waves, each only where few enough of the one before failed.

    Exit code 0: all are migrated or up to date. 1: some are not. 2: nothing was begun. 3: one needs an operator.
    """

    model_config = FORM

    databases: list[Path] = Field(
        default_factory=list,
        description="The database files; MACHINE:/PATH, for every one of them, where they are on several machines.",
    )
    glob: list[str] = Field(
        default_factory=list,
        description="A pattern for database files, ** for any folders; backups are passed over. May be given again.",
    )
    inventory: Path | None = Field(
        None, description="A text file with the path of one database a line, or MACHINE:/PATH."
    )
    canary: Path | None = Field(
        None, description="The database that goes first and alone. Default: the first; the next, if that is up to date."
    )
    waves: str = Field(
        "10%,30%,100%",
        description="The sizes of the waves after it: numbers or shares of the fleet. The last is repeated.",
    )
    max_failed: str = Field(
        "0", title="Failures allowed", description="How many databases of a wave may fail, or which share of it."
    )
    parallel: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="How many are migrated at a time, on each machine. Default: one for each processor.",
    )
    timeout_s: float = Field(
        3600.0, gt=0, title="Timeout (s)", description="After so many seconds a database's run is ended and restored."
    )
    state: Path = Field(Path("fleet.jsonl"), description="The file that says who is finished. Default: fleet.jsonl.")
    part_of: PartOf | None = Field(
        None,
        json_schema_extra=FOR_PROGRAMS,
        description="Given by a fleet over several machines to the runs that it orders on each. Leave it empty.",
    )
    resume: bool = Field(False, description="Go on with the fleet of the state file; what is finished is left out.")
    retry_failed: bool = Field(False, description="With --resume: try again those that failed.")
    dry_run: bool = Field(False, description="Show the waves and what each database's run would do; change nothing.")
    to: int | None = _as_for_one("to")
    backup_dir: Path | None = _as_for_one("backup_dir")
    max_lock_ms: float = _as_for_one("max_lock_ms")
    map_result: list[str] = _as_for_one("map_result")
    truncate_times: bool = _as_for_one("truncate_times")
    null_duplicate_vector_ids: bool = _as_for_one("null_duplicate_vector_ids")
    copy_to: str | None = _as_for_one("copy_to")

    @field_validator("waves", "max_failed")
    @classmethod
    def _are_amounts(cls, given: str) -> str:
        try:
            parse_amounts(given)
        except RefusedError as error:
            raise ValueError(str(error)) from None
        return given

    @field_validator("max_failed")
    @classmethod
    def _is_one(cls, given: str) -> str:
        if "," in given:
            raise ValueError(f"{given!r} is more than one number")
        return given

    @field_validator(*_OF_EACH)
    @classmethod
    def _suits_a_migration(cls, given: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        return getattr(MigrationRequest.model_validate({"database": ".", name: given}), name)

    @field_validator("retry_failed")
    @classmethod
    def _goes_with_resume(cls, given: bool, info: ValidationInfo) -> bool:
        if given and not (info.data.get("resume") or info.data.get("part_of")):
            raise ValueError("it goes with --resume")
        return given

    @model_validator(mode="before")
    @classmethod
    def _part_has_a_state_of_its_own(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("part_of") is not None:
            part = PartOf.model_validate(given["part_of"])
            return {"state": prefect_home() / "fleets" / f"{part}.jsonl"} | given
        return given

    @property
    def limit(self) -> Amount:
        return parse_amount(self.max_failed)

    @property
    def at_a_time(self) -> int:
        return self.parallel or os.cpu_count() or 1

    def migration_of(self, database: str) -> MigrationRequest:
        """What the run of one database is asked to do."""
        shared = {name: getattr(self, name) for name in (*_OF_EACH, "dry_run")}
        return MigrationRequest(database=Path(database), **shared)

    def for_part(self, part_of: PartOf, part: Part, may_fail: int) -> dict[str, Any]:
        """What the machine of a part is asked to do, as JSON."""
        shared = {*_OF_EACH, "parallel", "timeout_s", "retry_failed", "dry_run"}
        of_part = {"part_of": part_of.model_dump(), "databases": [*part.paths], "max_failed": str(may_fail)}
        return self.model_dump(mode="json", include=shared, exclude_defaults=True) | of_part

    def going_on(self, stored: FleetRequest) -> FleetRequest:
        """The request that was begun, with what this one may say anew.

        Raises RefusedError where this one orders something else.
        """
        defaults = {n: field.get_default(call_default_factory=True) for n, field in FleetRequest.model_fields.items()}
        # A command line gives every switch, also as False.
        given = {name: getattr(self, name) for name in defaults if getattr(self, name) != defaults[name]}
        if self.part_of is not None:
            # Of those that the part began with some may be known to be finished.
            given.pop("databases", None)
        for name in sorted(given.keys() - _MAY_CHANGE):
            if given[name] != getattr(stored, name):
                raise RefusedError(
                    f"--{name.replace('_', '-')} is not what this fleet was begun with",
                    "leave it out, or begin a fleet with another --state",
                )
        # A limit may be taken back to what it is by default; and the fleet tells each run of a part all that holds.
        said = given.keys() | ({"max_failed"} & self.model_fields_set) if self.part_of is None else _MAY_CHANGE
        anew = _OF_ONE_START | (said & _MAY_CHANGE)
        return stored.model_copy(update={name: getattr(self, name) for name in anew})
