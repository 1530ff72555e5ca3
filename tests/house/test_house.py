"""The house rules that no linter knows, each as a test; a failure names the file, the line and what to do."""

import ast
import importlib.util
import re
import subprocess
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "tasks", "migrator", "deployments")
UNPICKLING = ("pickle", "cloudpickle", "dill", "shelve", "joblib", "marshal.load", "marshal.loads")
LINES_WISHED, LINES_ALLOWED = 300, 350
# Words that say nothing about what a thing does, or that Prefect uses for something else.
WORDS_NOT_USED = {"helper", "helpers", "manager", "managers", "util", "utils", "process", "handle", "engine"}
# Path below the root -> why this test cannot wait for the event itself.
SLEEPS_ALLOWED = {"tests/benchmarks/load.py": "a load at a steady rate"}


def _sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def _name(path):
    return path.relative_to(ROOT).as_posix()


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _imports(path):
    """Each (line, dotted name) that the file imports, relative imports made absolute."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _imported_from(path, module):
    return [f"{_name(path)}:{line}" for line, name in _imports(path) if f"{name}.".startswith(f"{module}.")]


def _lines_with(pattern, paths):
    return [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="ignore").splitlines(), 1)
        if re.search(pattern, line)
    ]


def _words(identifier):
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)}


def _files():
    """What git tracks or would track; in a copy without git, all but what begins with a dot or is made by make."""
    try:
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = []
    tracked = [ROOT / name for name in names if name]
    if not tracked:
        tracked = [p for p in ROOT.rglob("*") if not re.search(r"(^|/)([.](?!ci)|__pycache__|build/|demo/)", _name(p))]
    return [path for path in tracked if path.is_file() and not path.is_symlink()]


def _readme_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```(?:sh|bash|shell|console)\n(.*?)^ *```", readme, re.DOTALL | re.MULTILINE)
    return [re.sub(r"^\s*[$] ", "", line).strip() for block in blocks for line in block.splitlines()]


def test_files_can_be_read_in_one_go():
    lines = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in _sources(*PACKAGES)}
    for name, count in lines.items():
        if count > LINES_WISHED:
            warnings.warn(f"{name} has {count} lines; above {LINES_ALLOWED} it fails", stacklevel=1)
    assert {name: count for name, count in lines.items() if count > LINES_ALLOWED} == {}


def test_no_statement_commits_behind_our_back():
    assert _lines_with(r"\.executescript\b", _sources("flows", "tasks", "migrator")) == []


def test_nothing_that_is_read_is_run():
    paths = _sources(*PACKAGES)
    found = [where for path in paths for module in UNPICKLING for where in _imported_from(path, module)]
    # marshal.dumps makes bytes to hash, which nobody reads back.
    found += _lines_with(r"(?<![.\w])(?:eval|exec|compile|__import__)\(|\bmarshal\.(?!dumps\()\w", paths)
    assert found == []


def test_only_ltmc_names_the_table_that_it_migrates():
    paths = [path for folder in PACKAGES for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".html"}]
    outside = [path for path in paths if not path.is_relative_to(ROOT / "migrator" / "ltmc")]
    assert _lines_with("CodePatterns", outside) == []


@pytest.mark.parametrize("module", ["prefect", "loguru"])
def test_the_migrator_does_not_import(module):
    assert [found for path in _sources("migrator") for found in _imported_from(path, module)] == []


def test_the_application_is_handed_in_from_above():
    ltmc = ROOT / "migrator" / "ltmc"
    below = [path for path in _sources("tasks", "migrator") if not path.is_relative_to(ltmc)]
    assert [found for path in below for found in _imported_from(path, "migrator.ltmc")] == []


def test_tests_wait_for_events_instead_of_sleeping():
    paths = [path for path in _sources("tests") if _name(path) not in SLEEPS_ALLOWED]
    assert _lines_with(r"\btime\.sleep\(|from\s+time\s+import.*\bsleep\b", paths) == []


def test_a_sleep_that_is_gone_leaves_the_list():
    assert [name for name in SLEEPS_ALLOWED if not _lines_with("sleep", [ROOT / name])] == []


def test_names_say_what_a_thing_does():
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    named = [(_name(path), path.stem) for path in _sources(*PACKAGES, "tests")]
    named += [
        (f"{_name(path)}:{node.lineno}", node.name)
        for path in _sources(*PACKAGES)
        for node in ast.walk(_tree(path))
        if isinstance(node, definitions)
    ]
    assert [(where, name) for where, name in named if _words(name) & WORDS_NOT_USED] == []


def test_what_the_migrator_offers_promises_something():
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    silent = [
        f"{_name(path)}:{node.lineno} {node.name}"
        for path in _sources("migrator")
        for node in _tree(path).body
        if isinstance(node, definitions) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_file_names_a_machine_or_a_package_index():
    # Each written so that this file does not hold what it looks for.
    machine = r"(?<![\w.])/(?:work|root|home|Users)/\w"
    index = r"index-[u]rl|find-[l]inks|://\S+/simpl[e]\b"
    assert _lines_with(f"{machine}|{index}", _files()) == []


def test_the_readme_names_targets_and_modules_that_exist():
    commands = _readme_commands()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    made = [re.search(r"^make\s+(?:\S+=\S+\s+)*([a-z]+)\b(?!=)", command) for command in commands]
    run = [re.search(r"^(?:\S*/)?python3? -m ([\w.]+)", command) for command in commands]
    assert any(made), "README.md shows no make target in a sh block"
    assert [found[0] for found in made if found and found[1] not in targets] == []
    assert [found[0] for found in run if found and not _is_module(found[1])] == []


def _is_module(name):
    path = ROOT.joinpath(*name.split("."))
    if name.split(".")[0] in PACKAGES:
        return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
    return importlib.util.find_spec(name) is not None


def test_what_the_pages_link_to_is_there():
    pages = [path for path in _files() if path.suffix == ".md"]
    broken = [
        f"{_name(page)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert len(pages) >= 7
    assert broken == []
