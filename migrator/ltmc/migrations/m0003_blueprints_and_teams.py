"""0003: the tables of blueprints, teams, document synchronisation and metrics, with an index on each foreign key.

The columns are those that the application's code writes: its CREATE TABLE IF NOT EXISTS does nothing to a table that is
there, so another form would make its tools fail.
"""

from migrator.migration import Behaviour, Change, Migration

TASK_BLUEPRINTS = """
CREATE TABLE TaskBlueprints (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    blueprint_id TEXT UNIQUE NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    complexity TEXT NOT NULL,
    complexity_score REAL NOT NULL,
    project_id TEXT,
    estimated_duration_minutes INTEGER DEFAULT 30,
    required_skills TEXT,
    priority_score REAL DEFAULT 0.5,
    resource_requirements TEXT,
    tags TEXT,
    status TEXT DEFAULT 'draft',
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
)"""

TASK_DEPENDENCIES = """
CREATE TABLE TaskDependencies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    dependent_blueprint_id TEXT NOT NULL,
    prerequisite_blueprint_id TEXT NOT NULL,
    dependency_type TEXT DEFAULT 'blocking',
    is_critical BOOLEAN DEFAULT 0,
    created_at TEXT NOT NULL,
    FOREIGN KEY (dependent_blueprint_id) REFERENCES TaskBlueprints (blueprint_id),
    FOREIGN KEY (prerequisite_blueprint_id) REFERENCES TaskBlueprints (blueprint_id),
    UNIQUE (dependent_blueprint_id, prerequisite_blueprint_id)
)"""

TEAM_MEMBERS = """
CREATE TABLE TeamMembers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    member_id TEXT UNIQUE NOT NULL,
    name TEXT NOT NULL,
    skills TEXT,
    capacity REAL DEFAULT 1.0,
    current_workload REAL DEFAULT 0.0,
    availability_status TEXT DEFAULT 'available',
    project_id TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
)"""

TASK_ASSIGNMENTS = """
CREATE TABLE TaskAssignments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    assignment_id TEXT UNIQUE NOT NULL,
    blueprint_id TEXT NOT NULL,
    member_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    assigned_at TEXT NOT NULL,
    status TEXT DEFAULT 'assigned',
    progress_percentage REAL DEFAULT 0.0,
    actual_hours_worked REAL DEFAULT 0.0,
    notes TEXT,
    completed_at TEXT,
    FOREIGN KEY (blueprint_id) REFERENCES TaskBlueprints (blueprint_id),
    FOREIGN KEY (member_id) REFERENCES TeamMembers (member_id)
)"""

DOCUMENTATION_SYNC = """
CREATE TABLE DocumentationSync (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sync_id TEXT UNIQUE NOT NULL,
    file_path TEXT NOT NULL,
    project_id TEXT NOT NULL,
    sync_type TEXT NOT NULL,
    consistency_score REAL,
    last_sync_at TEXT NOT NULL,
    drift_detected BOOLEAN DEFAULT 0,
    auto_sync_enabled BOOLEAN DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
)"""

BLUEPRINT_CODE_LINKS = """
CREATE TABLE BlueprintCodeLinks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    blueprint_id TEXT NOT NULL,
    file_path TEXT NOT NULL,
    project_id TEXT NOT NULL,
    link_type TEXT NOT NULL,
    consistency_status TEXT DEFAULT 'unknown',
    last_validated_at TEXT,
    created_at TEXT NOT NULL,
    FOREIGN KEY (blueprint_id) REFERENCES TaskBlueprints (blueprint_id)
)"""

REALTIME_SYNC = """
CREATE TABLE RealtimeSync (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sync_session_id TEXT UNIQUE NOT NULL,
    project_id TEXT NOT NULL,
    monitored_paths TEXT NOT NULL,
    sync_status TEXT DEFAULT 'active',
    last_activity_at TEXT NOT NULL,
    changes_detected INTEGER DEFAULT 0,
    auto_sync_enabled BOOLEAN DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
)"""

PERFORMANCE_METRICS = """
CREATE TABLE PerformanceMetrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    metric_id TEXT UNIQUE NOT NULL,
    metric_type TEXT NOT NULL,
    project_id TEXT,
    component_name TEXT NOT NULL,
    metric_value REAL NOT NULL,
    unit TEXT,
    timestamp TEXT NOT NULL,
    metadata TEXT
)"""

_BLUEPRINT = """INSERT INTO TaskBlueprints
    (blueprint_id, title, description, complexity, complexity_score, created_at, updated_at)
    VALUES ('{}', 'Try', 'Try the table.', 'simple', 0.1, '2025-08-09', '2025-08-09')"""
_DEPENDENCY = """INSERT INTO TaskDependencies (dependent_blueprint_id, prerequisite_blueprint_id, created_at)
    VALUES ('tried 1', 'tried {}', '2025-08-09')"""

MIGRATION = Migration(
    changes=(
        Change(
            "TaskBlueprints",
            after=TASK_BLUEPRINTS,
            behaviours=(
                Behaviour(
                    "a blueprint_id is given once",
                    (_BLUEPRINT.format("tried"), _BLUEPRINT.format("tried")),
                    refused="UNIQUE constraint failed: TaskBlueprints.blueprint_id",
                ),
            ),
        ),
        Change(
            "TaskDependencies",
            after=TASK_DEPENDENCIES,
            # The UNIQUE constraint begins with the dependent one, so that key has an index already.
            indexes=("CREATE INDEX idx_taskdependencies_prerequisite ON TaskDependencies(prerequisite_blueprint_id)",),
            behaviours=(
                Behaviour(
                    "a blueprint may depend on several others",
                    (*(_BLUEPRINT.format(f"tried {n}") for n in (1, 2, 3)), *map(_DEPENDENCY.format, (2, 3))),
                ),
                Behaviour(
                    "a dependency is noted once",
                    (*(_BLUEPRINT.format(f"tried {n}") for n in (1, 2)), *map(_DEPENDENCY.format, (2, 2))),
                    refused="UNIQUE constraint failed: TaskDependencies.dependent_blueprint_id",
                ),
            ),
        ),
        Change("TeamMembers", after=TEAM_MEMBERS),
        Change(
            "TaskAssignments",
            after=TASK_ASSIGNMENTS,
            indexes=(
                "CREATE INDEX idx_taskassignments_blueprint ON TaskAssignments(blueprint_id)",
                "CREATE INDEX idx_taskassignments_member ON TaskAssignments(member_id)",
            ),
        ),
        Change("DocumentationSync", after=DOCUMENTATION_SYNC),
        Change(
            "BlueprintCodeLinks",
            after=BLUEPRINT_CODE_LINKS,
            indexes=("CREATE INDEX idx_blueprintcodelinks_blueprint ON BlueprintCodeLinks(blueprint_id)",),
        ),
        Change("RealtimeSync", after=REALTIME_SYNC),
        Change("PerformanceMetrics", after=PERFORMANCE_METRICS),
    ),
)
