"""Adds up the JUnit files of one run: what was skipped and why, what failed, and the closing line.

usage: summary.py BROKEN FOLDER, where BROKEN is the number of steps that could not run at all.
"""
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def reason(case, skip):
    """Why a test was skipped: ctest knows the exit status alone, the words are in the output."""
    said = [line for line in case.findtext("system-out", default="").splitlines() if line.startswith("skipped: ")]
    return said[0].removeprefix("skipped: ") if said else skip.get("message")


def main():
    failed = int(sys.argv[1])
    passed = 0
    skipped = []
    for file in sorted(Path(sys.argv[2]).glob("*.xml")):
        for case in ElementTree.parse(file).iter("testcase"):
            name = f"{file.stem}: {case.get('classname')} {case.get('name')}"
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                print(f"FAILED  {name}")
            elif skip is not None:
                skipped.append(f"SKIPPED {name}: {reason(case, skip)}")
            else:
                passed += 1
    print("\n".join(skipped))
    if int(sys.argv[1]):
        print(f"{sys.argv[1]} step(s) could not run")
    if skipped:
        print(f"{len(skipped)} skipped")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
