"""What Schemathesis has to know of the engine that tests/openapi.rs runs it against.

EVENKEEL_TOKEN is whose requests they are, EVENKEEL_NAMES what there is to ask about (JSON, by the first part of a path), and EVENKEEL_SEEN the
file that says in the end which route has answered what.
"""

import atexit
import json
import os
from collections import Counter

import schemathesis

NAMES = json.loads(os.environ["EVENKEEL_NAMES"])
SEEN = Counter()


@schemathesis.auth()
class Token:
    def get(self, case, context):
        return os.environ["EVENKEEL_TOKEN"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Names in paths are mostly those of what there is: about what is not there everything says the same."""
    for path, operations in raw_schema["paths"].items():
        there = NAMES.get(path.split("/")[1], {})
        for operation in operations.values():
            # Who asks for parts of an item gets no more than those, which no schema can say.
            operation["parameters"] = [parameter for parameter in operation["parameters"] if parameter["name"] != "fields"]
            for parameter in operation["parameters"]:
                known = there.get(parameter["name"]) if parameter["in"] == "path" else NAMES["query"].get(parameter["name"])
                if known and parameter["schema"].get("type") == "string":
                    parameter["schema"]["enum"] = known


@schemathesis.hook
def after_call(context, case, response):
    SEEN[f"{case.method} {case.operation.path} {response.status_code}"] += 1


@atexit.register
def tell():
    with open(os.environ["EVENKEEL_SEEN"], "w", encoding="utf-8") as file:
        json.dump(SEEN, file)
