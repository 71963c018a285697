#!/usr/bin/env python3
"""docs/host-groups.schema.json and slicer-run's reader of host groups judge the same files alike.

usage: schema_test.py SCHEMA GOOD_FOLDER BAD_FOLDER
The reader's side is yaml_test.cc, which takes the same folders. A bad file whose fault no schema can see says so.
"""
import json
import pathlib
import re
import sys

try:
    import jsonschema
    import yaml
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(0)

BLIND = "# a schema cannot see it"


class Core(yaml.SafeLoader):
    """YAML 1.2's core types, as editors and slicer-run have them: no is a text, and so is 52:54:00:12:34:56."""


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("null", r"^(~|null|)$", "~n\0"),
    ("bool", r"^(true|false)$", "tf"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
):
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first) + ([""] if tag == "null" else []))


def main():
    schema = json.loads(pathlib.Path(sys.argv[1]).read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    wrong = 0
    seen = 0
    for folder, good in ((sys.argv[2], True), (sys.argv[3], False)):
        for file in sorted(pathlib.Path(folder).glob("*.yaml")):
            seen += 1
            text = file.read_text()
            errors = [error.message for error in validator.iter_errors(yaml.load(text, Loader=Core))]
            valid = good or BLIND in text
            if valid == (not errors):
                continue
            wrong += 1
            print(f"{file}: the schema {'refuses it: ' + errors[0] if errors else 'takes it'}")
    print(f"{seen} files, {wrong} judged wrongly")
    return 1 if wrong or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
