#!/usr/bin/env python3
"""Runs clang-tidy over the sources, on all cores, and remembers what passed.

usage: tidy.py BUILD_DIR [FILE...]

Without FILEs: all sources but the tests'. A source is checked again only when it, a header of ours that it reaches, its
compile command or .clang-tidy has changed: the stamps are in ~/.cache/slicer-cni/tidy, so that a fresh checkout has them
too. Prints the findings; the exit status is 1 when there are any.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys

TIDY = "clang-tidy-19"
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "slicer-cni", "tidy")
INCLUDE = re.compile(rb'^\s*#\s*include\s+"([^"]+)"', re.M)


def reached_headers(root, source, seen):
    """All of our own files that `source` includes, directly or not."""
    with open(source, "rb") as file:
        content = file.read()
    for name in INCLUDE.findall(content):
        for base in (root, os.path.dirname(source)):
            path = os.path.realpath(os.path.join(base, os.fsdecode(name)))
            if path not in seen and os.path.isfile(path):
                seen.add(path)
                reached_headers(root, path, seen)
    return seen


def stamp_of(root, entry):
    digest = hashlib.sha256(entry["command"].replace(root, "").encode())
    source = os.path.realpath(entry["file"])
    for path in [os.path.join(root, ".clang-tidy"), source, *sorted(reached_headers(root, source, set()))]:
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def check(root, build, entry):
    """The findings as text; empty when there are none."""
    stamp = os.path.join(CACHE, stamp_of(root, entry))
    if os.path.exists(stamp):
        return ""
    done = subprocess.run([TIDY, "-p", build, "--quiet", entry["file"]], capture_output=True, text=True, check=False)
    if done.returncode == 0 and not done.stdout.strip():
        with open(stamp, "w", encoding="utf-8"):
            return ""
    return done.stdout or done.stderr


def main():
    build, only = os.path.realpath(sys.argv[1]), {os.path.realpath(name) for name in sys.argv[2:]}
    root = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = {os.path.realpath(entry["file"]): entry for entry in json.load(file)}
    tests = os.path.join(root, "tests") + "/"
    chosen = [entry for path, entry in sorted(entries.items())
              if path.startswith(root + "/") and (path in only if only else not path.startswith((build + "/", tests)))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = [text for text in pool.map(lambda entry: check(root, build, entry), chosen) if text]
    for text in findings:
        print(text)
    print(f"clang-tidy: {len(chosen)} files, {len(findings)} with findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
