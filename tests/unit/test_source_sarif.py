"""The SARIF output holds what version 2.1.0 requires, and nothing that its schema does not know."""

import json

from migrator.source.check import check_source
from migrator.source.sarif import RULES, to_sarif
from tests.unit.source_trees import SEEDED, after, before, schema, write

# Of sarif-schema-2.1.0.json: what must be in each object that is used here, and what may be.
OBJECTS = {
    "log": ({"version", "runs"}, {"$schema"}),
    "run": ({"tool"}, {"results", "columnKind", "invocations"}),
    "invocation": ({"executionSuccessful"}, {"toolExecutionNotifications"}),
    "notification": ({"message"}, {"level"}),
    "tool": ({"driver"}, set()),
    "driver": ({"name"}, {"rules", "version", "informationUri"}),
    "rule": ({"id"}, {"shortDescription", "fullDescription", "defaultConfiguration", "helpUri"}),
    "result": ({"message"}, {"ruleId", "ruleIndex", "level", "locations", "partialFingerprints"}),
    "location": (set(), {"physicalLocation"}),
    "physical": ({"artifactLocation"}, {"region"}),
    "artifact": ({"uri"}, {"uriBaseId"}),
    "region": ({"startLine"}, {"startColumn", "endLine", "endColumn"}),
}
LEVELS = {"none", "note", "warning", "error"}


def check_object(kind, found):
    required, allowed = OBJECTS[kind]
    assert required <= found.keys() <= required | allowed, (kind, found)


def check_log(log):
    check_object("log", log)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    check_object("run", run)
    check_object("tool", run["tool"])
    driver = run["tool"]["driver"]
    check_object("driver", driver)
    for rule in driver["rules"]:
        check_object("rule", rule)
        assert rule["shortDescription"].keys() == {"text"}
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    (invocation,) = run["invocations"]
    check_object("invocation", invocation)
    for notification in invocation["toolExecutionNotifications"]:
        check_object("notification", notification)
        assert notification["level"] in LEVELS and notification["message"]["text"]
    for result in run["results"]:
        check_object("result", result)
        assert result["level"] in LEVELS
        assert result["message"]["text"]
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        (location,) = result["locations"]
        check_object("location", location)
        physical = location["physicalLocation"]
        check_object("physical", physical)
        check_object("artifact", physical["artifactLocation"])
        absolute = physical["artifactLocation"]["uri"].startswith("file:///")
        assert ("uriBaseId" in physical["artifactLocation"]) == (not absolute)
        region = physical["region"]
        check_object("region", region)
        assert all(number >= 1 for number in region.values())
        assert region["endLine"] >= region["startLine"]
    return run


def test_every_finding_is_a_result_of_a_known_rule():
    check = check_source(SEEDED, before(), after())
    run = check_log(json.loads(json.dumps(to_sarif(check, "flows.check", SEEDED))))
    assert len(run["results"]) == len(check.findings) + len(check.not_checked)
    assert {r["ruleId"] for r in run["results"]} <= RULES.keys()
    assert {r["level"] for r in run["results"]} == {"error", "warning", "note"}


def test_a_result_points_to_the_name_at_fault(tmp_path):
    write(tmp_path, {"my app/größe.py": "\nc.execute('SELECT id, nme FROM t')"})
    run = check_log(to_sarif(check_source(tmp_path, schema("CREATE TABLE t (id)")), "flows.check", tmp_path))
    assert run["results"] == [
        {
            "ruleId": "no-such-column",
            "ruleIndex": 0,
            "level": "error",
            "message": {"text": "no such column: nme (now): SELECT id, nme FROM t"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": "my%20app/gr%C3%B6%C3%9Fe.py", "uriBaseId": "%SRCROOT%"},
                        "region": {"startLine": 2, "startColumn": 23, "endLine": 2, "endColumn": 26},
                    }
                }
            ],
        }
    ]


def test_a_tree_without_a_fault_has_no_result(tmp_path):
    write(tmp_path, {"app.py": "c.execute('SELECT id FROM t')"})
    run = check_log(to_sarif(check_source(tmp_path, schema("CREATE TABLE t (id)")), "flows.check", tmp_path))
    assert run["results"] == []


def test_paths_are_those_below_the_root_of_the_repository_and_absolute_outside(tmp_path):
    check = check_source(
        write(tmp_path / "lib app", {"a.py": "c.execute('SELECT x FROM t')"}), schema("CREATE TABLE t (id)")
    )
    artifacts = [
        check_log(to_sarif(check, "flows.check", root))["results"][0]["locations"][0]["physicalLocation"][
            "artifactLocation"
        ]
        for root in (tmp_path, tmp_path / "other")
    ]
    assert artifacts == [
        {"uri": "lib%20app/a.py", "uriBaseId": "%SRCROOT%"},
        {"uri": (tmp_path / "lib app" / "a.py").as_uri()},
    ]


def test_what_the_pending_migration_mends_is_a_note(tmp_path):
    write(tmp_path, {"app.py": "c.execute('SELECT new FROM t')\nc.execute('SELECT old FROM t')"})
    check = check_source(tmp_path, schema("CREATE TABLE t (old)"), schema("CREATE TABLE t (new)"))
    results = check_log(to_sarif(check, "flows.check", tmp_path))["results"]
    assert [(r["level"], r["message"]["text"]) for r in results] == [
        ("note", "no such column: new (before, mended by the pending migration): SELECT new FROM t"),
        ("error", "no such column: old (after): SELECT old FROM t"),
    ]


def test_a_file_that_could_not_be_read_is_told(tmp_path):
    write(tmp_path, {"good.py": "x = 1", "bad.py": "def"})
    run = check_log(to_sarif(check_source(tmp_path, after()), "flows.check", tmp_path))
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    why = "no Python source (invalid syntax, line 1)"
    assert (told["level"], told["message"]["text"]) == ("error", f"bad.py was left out: {why}")
    (result,) = run["results"]
    assert (result["ruleId"], result["level"], result["message"]["text"]) == ("not-read", "error", f"not read: {why}")
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "bad.py"
    run = check_log(to_sarif(check_source(tmp_path, after(), exclude=["bad.py"]), "flows.check", tmp_path))
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    assert (told["level"], told["message"]["text"]) == ("warning", "bad.py was left out: excluded")
    assert run["results"] == []
