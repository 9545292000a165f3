"""The options, variables and figures that files of this folder name are ones that the programs have."""

import json
import pathlib
import re
import subprocess
import sys

import yaml

programs = pathlib.Path(sys.argv[1])


def text(*command):
    return subprocess.run([programs / command[0], *command[1:]], capture_output=True, text=True, check=True).stdout


def options(*command):
    return set(re.findall(r"--[a-z][a-z0-9-]+", text(*command, "--help")))


known = {
    "graph-recs-scheduler": options("graph-recs-scheduler"),
    "graph-recs-executor": options("graph-recs-executor"),
}
subcommands = {}
variables = set()
for command in ["run", "doctor", "clean", "backfill", "check", "publish"]:
    subcommands[command] = options("graph-recs", command)
    variables |= set(re.findall(r"\[env: ([A-Z0-9_]+)", text("graph-recs", command, "--help")))

files = ["compose.yaml", *map(str, pathlib.Path("kubernetes").glob("*.yaml")), "systemd/graph-recs.service"]
for file in files:
    content = pathlib.Path(file).read_text()
    for variable in set(re.findall(r"\bGRAPH_RECS_[A-Z_]+", content)):
        assert variable in variables, f"{file}: no option has the variable {variable}"
    if not file.endswith(".yaml"):
        continue
    commands = []

    def collect(value):
        if isinstance(value, dict):
            for name in ("command", "args"):
                words = value.get(name)
                if isinstance(words, list) and words and str(words[0]).startswith("graph-recs"):
                    commands.append([str(word) for word in words])
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    for document in yaml.safe_load_all(content):
        collect(document)
    for command in commands:
        have = known.get(command[0]) or subcommands[command[1]]
        for word in command:
            if word.startswith("--"):
                assert word.split("=")[0] in have, f"{file}: {command[0]} has no option {word}"

source = "".join(path.read_text() for path in pathlib.Path("../jobs/src/telemetry").glob("*.rs"))
named = pathlib.Path("prometheus/alerts.yml").read_text() + json.dumps(json.load(open("grafana/graph-recs.json")))
for figure in set(re.findall(r"\bgraph_recs_[a-z_]+", named)):
    assert figure in source, f"the driver has no figure {figure}"
print(f"{len(files)} files name only what there is", file=sys.stderr)
