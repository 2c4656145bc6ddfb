"""What the lint tests share: the files of the repository, and C text without comments and strings.

A finding is "file:line: what is wrong"; a check returns a list of them, so that all are seen at once.
"""
import re
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]

# A comment, a string or a character constant; whichever begins first wins.
COMMENT_OR_STRING = re.compile(
    r"/\*.*?\*/|//(?:\\\n|[^\n])*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)


def files(*patterns):
    """Tracked and new files that match, ignored ones left out; relative to the top."""
    listed = subprocess.run(["git", "-C", TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard",
                             *patterns], check=True, stdout=subprocess.PIPE).stdout.decode()
    return sorted({name for name in listed.split("\0") if name and (TOP / name).is_file()})


def c_files():
    return files("src/*.c", "src/*.h", "tests/unit/*.c", "tests/unit/*.h", "tests/bench/*.c", "tests/tools/*.c")


def read(name):
    return (TOP / name).read_text(encoding="utf-8")


def blank(text, keep_strings=False):
    """The text, of the same length and lines, with comments (and what strings hold) made blank."""
    def cover(match):
        found = match.group()
        if found[0] in "\"'":
            if keep_strings:
                return found
            return found[0] + " " * (len(found) - 2) + found[-1]
        return re.sub(r"[^\n]", " ", found)
    return COMMENT_OR_STRING.sub(cover, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def calls(text, names):
    """(name, line, arguments) of every call of one of the functions; arguments as written."""
    code = blank(text)
    with_strings = blank(text, keep_strings=True)
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
    for match in pattern.finditer(code):
        depth = 1
        end = match.end()
        while depth and end < len(code):
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        yield match.group(1), line_of(code, match.start()), with_strings[match.end():end - 1]


def report(findings):
    assert not findings, f"{len(findings)} finding(s):\n" + "\n".join(findings)
