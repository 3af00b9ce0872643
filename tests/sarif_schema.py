"""What SARIF 2.1.0 asks of the parts that this project writes, as a JSON schema.

Written from the standard's text. CPUHP_SARIF_SCHEMA may name the published schema (as
`.ci/run` takes it from a package); then logs are validated against that as well.
"""

import json
import os
from pathlib import Path

from jsonschema.validators import Draft7Validator, validator_for


def closed(required=(), **properties):
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def several(items, least=0):
    return {"type": "array", "items": items, "minItems": least}


TEXT = {"type": "string"}
INDEX = {"type": "integer", "minimum": -1}
BAG = {"type": "object"}
STRINGS = {"type": "object", "additionalProperties": TEXT}
MESSAGE = closed(["text"], text=TEXT, markdown=TEXT)
REGION = closed(
    startLine={"type": "integer", "minimum": 1},
    startColumn={"type": "integer", "minimum": 1},
    endLine={"type": "integer", "minimum": 1},
    endColumn={"type": "integer", "minimum": 1},
)
PLACE = closed(
    artifactLocation=closed(
        uri={"type": "string", "pattern": r"^[!#-;=?-\[\]_a-z~]*$"}, uriBaseId=TEXT
    ),
    region=REGION,
)
LOCATION = closed(physicalLocation=PLACE, message=MESSAGE)
STEP = closed(
    location=LOCATION,
    executionOrder=INDEX,
    state={"type": "object", "additionalProperties": MESSAGE},
)
THREAD = closed(["locations"], id=TEXT, locations=several(STEP, 1))
FLOW = closed(["threadFlows"], message=MESSAGE, threadFlows=several(THREAD, 1))
RESULT = closed(
    ["message"],
    ruleId=TEXT,
    ruleIndex=INDEX,
    kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
    level={"enum": ["none", "note", "warning", "error"]},
    message=MESSAGE,
    locations=several(LOCATION),
    codeFlows=several(FLOW),
    partialFingerprints=STRINGS,
    properties=BAG,
)
RULE = closed(["id"], id=TEXT, shortDescription=MESSAGE, fullDescription=MESSAGE)
NOTIFICATION = closed(
    ["message"], level={"enum": ["none", "note", "warning", "error"]}, message=MESSAGE
)
INVOCATION = closed(
    ["executionSuccessful"],
    executionSuccessful={"type": "boolean"},
    toolExecutionNotifications=several(NOTIFICATION),
)
RUN = closed(
    ["tool"],
    tool=closed(
        ["driver"],
        driver=closed(["name"], name=TEXT, semanticVersion=TEXT, rules=several(RULE)),
    ),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    invocations=several(INVOCATION),
    results=several(RESULT),
)
LOG = {
    **closed(
        ["version", "runs"],
        version={"const": "2.1.0"},
        runs=several(RUN),
    )
}
LOG["properties"]["$schema"] = TEXT


def assert_is_sarif(log):
    """Fails with the first place where a log is not SARIF 2.1.0."""
    schemas = [LOG]
    published = os.environ.get("CPUHP_SARIF_SCHEMA")
    if published:
        schemas.append(json.loads(Path(published).read_text("utf-8-sig")))
    for schema in schemas:
        errors = [
            f"{'/'.join(map(str, e.path))}: {e.message}"
            for e in validator_for(schema, Draft7Validator)(schema).iter_errors(log)
        ]
        assert not errors, errors[:3]
    for run in log["runs"]:
        rules = [rule["id"] for rule in run["tool"]["driver"].get("rules", [])]
        assert len(set(rules)) == len(rules)
        for result in run["results"]:
            assert rules[result["ruleIndex"]] == result["ruleId"]
            if result.get("kind", "fail") != "fail":
                assert result["level"] == "none"
