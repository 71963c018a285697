#!/usr/bin/env python3
"""Counts tests one by one, whatever ran them.

usage: tally.py ctest JUNIT.xml | tally.py go GO-TEST.json     prints one line a test: status TAB name TAB reason
       tally.py sum RESULTS                                     prints failures, skips and `N passed, N failed, N skipped`

A doctest program counts as its cases. A test that cannot run says `SKIPPED: REASON` on a line of its own: the whole
program when it ends with ctest's SKIP_RETURN_CODE, else the one doctest case that printed it.
"""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree

SUMMARY = re.compile(r"^\[doctest\] test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*\|\s*(\d+) skipped", re.M)
REASON = re.compile(r"^SKIPPED: (.+)$", re.M)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def line(status, name, reason=""):
    print(f"{status}\t{name}\t{' '.join(reason.split())}")


def tally_ctest(path):
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = case.get("name")
        output = ESCAPES.sub("", case.findtext("system-out") or "")
        reasons, summary = REASON.findall(output), SUMMARY.search(output)
        failure = case.find("failure")
        if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            line("skipped", name, reasons[0] if reasons else case.find("skipped").get("message", "not run"))
        elif not summary:
            line("failed" if failure is not None else "passed", name,
                 "" if failure is None else failure.get("message", ""))
        else:
            passed, failed = int(summary[2]), int(summary[3])
            if failure is not None and failed == 0:  # it crashed, timed out or leaked after its summary
                line("failed", name, failure.get("message", ""))
            for _ in range(failed):
                line("failed", name, "a case of it")
            for reason in reasons[:passed]:
                line("skipped", name, reason)
            for _ in range(passed - min(passed, len(reasons))):
                line("passed", name)


def tally_go(path):
    output, ended, ends = {}, {}, []
    with open(path, encoding="utf-8") as file:
        for text in file:
            try:
                event = json.loads(text)
            except ValueError:
                continue
            name = event.get("Test")
            if name is None:
                if event.get("Action") == "fail":
                    ends.append(event.get("Package") or "go test")
            elif event["Action"] == "output":
                output[name] = output.get(name, "") + event["Output"]
            elif event["Action"] in ("pass", "fail", "skip"):
                ended[name] = event["Action"]
            elif event["Action"] == "run":
                ended.setdefault(name, "fail")  # until it says otherwise: a panic ends it without a word
    parents = {name.rpartition("/")[0] for name in ended if "/" in name}
    words = {"pass": "passed", "fail": "failed", "skip": "skipped"}
    leaves = [name for name in ended if name not in parents or (
        ended[name] == "fail" and not any(n.startswith(name + "/") and e == "fail" for n, e in ended.items()))]
    for name in leaves:
        text = output.get(name, "")
        reasons = [part.strip() for part in text.splitlines() if part.strip() and not re.match(r"\s*(=== |--- )", part)]
        line(words[ended[name]], name, reasons[-1] if reasons and ended[name] != "pass" else "")
    if ends and "fail" not in ended.values():
        line("failed", ends[0], "the test program itself")


def sum_up(path):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with open(path, encoding="utf-8") as file:
        rows = [text.rstrip("\n").split("\t") for text in file if text.strip()]
    for status, name, reason in rows:
        counts[status] += 1
        if status != "passed":
            print(f"{status}: {name}" + (f": {reason}" if reason else ""))
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    kind, name = sys.argv[1:]
    sys.exit({"ctest": tally_ctest, "go": tally_go, "sum": sum_up}[kind](name))
