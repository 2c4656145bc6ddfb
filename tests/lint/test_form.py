"""The form of the sources: clang-format, function length, headers alone, READMEs, shell syntax, words."""
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from sources import TOP, blank, c_files, files, read, report

FUNCTION_LINES = 100
LONG_REASON = "Longer than 100 lines because"
PACKAGES = ("libpq", "libarchive", "libcrypto", "yaml-0.1", "jansson", "sqlite3", "zlib", "cmocka",
            "libcurl", "expat", "libmicrohttpd")
# Built from pieces, so that this file does not find itself.
WORDS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b|/work/(ma" r"in|sha" r"red)|\.\./sha" r"red")


def long_functions(name, text):
    """In this style a function's body lies between lines that are "{" and "}" and nothing else."""
    lines = blank(text).split("\n")
    original = text.split("\n")
    found = []
    start = None
    for number, line in enumerate(lines):
        if line.rstrip() == "{":
            start = number
        elif line.rstrip() == "}" and start is not None:
            length = number - start - 1
            before = "\n".join(original[max(0, start - 12):start])
            if length > FUNCTION_LINES and LONG_REASON not in before:
                found.append(f"{name}:{start + 1}: a function of {length} lines; {FUNCTION_LINES} is the most")
            start = None
    return found


def forbidden_words(name, text):
    return [f"{name}:{number}: \"{match.group()}\" has no place here"
            for number, line in enumerate(text.split("\n"), 1) for match in WORDS.finditer(line)]


def test_function_length():
    report([f for name in c_files() for f in long_functions(name, read(name))])


def test_words():
    found = []
    for name in files():
        try:
            found += forbidden_words(name, read(name))
        except UnicodeDecodeError:
            pass  # not text
    report(found)


def test_checks_see():
    body = "    x();\n" * 101
    assert len(long_functions("a.c", f"int f(void)\n{{\n{body}}}\n")) == 1
    assert long_functions("a.c", f"/* {LONG_REASON} x */\nint f(void)\n{{\n{body}}}\n") == []
    assert long_functions("a.c", f"int f(void)\n{{\n}}\n/*\n{{\n{body}*/\n}}\n") == []
    assert len(forbidden_words("a", "x\n/* TO" "DO: later */")) == 1
    assert forbidden_words("a", "AUTODOC network/shared") == []


def test_clang_format():
    if not shutil.which("clang-format"):
        pytest.fail("clang-format is missing: sh packaging/install-deps.sh")
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *c_files()], cwd=TOP, check=False,
                          stderr=subprocess.PIPE, text=True)
    first = {}  # by file
    for name, line in re.findall(r"^(\S+?):(\d+):\d+: error: ", done.stderr, re.MULTILINE):
        first.setdefault(name, f"{name}:{line}: clang-format -i would change it from here on")
    report(list(first.values()))
    assert done.returncode == 0, done.stderr


def test_headers_compile_alone():
    flags = subprocess.run(["pkg-config", "--cflags", *PACKAGES], check=True, stdout=subprocess.PIPE,
                           text=True).stdout.split()

    def compile_header(name):
        done = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Werror", "-Isrc",
                               *flags, "-x", "c", "-"], cwd=TOP, input=f'#include "{name}"\n#include "{name}"\n',
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0:
            return []
        # Twice the same header: what it says first is what is wrong with it.
        return re.findall(r"^\S+:\d+:.*error: .*$", done.stderr, re.MULTILINE)[:1] or [f"{name}:1: {done.stderr}"]

    headers = [name.removeprefix("src/") for name in files("src/*.h")]
    with ThreadPoolExecutor(2) as pool:
        report([f for found in pool.map(compile_header, headers) for f in found])


def test_readme_in_every_folder():
    folders = [p for p in sorted((TOP / "src").iterdir()) if p.is_dir()]
    folders += [p for p in sorted((TOP / "tests").iterdir()) if p.is_dir() and p.name != "__pycache__"]
    folders += [TOP / "src", TOP / "tests", TOP / "contrib", TOP / "packaging", TOP / "policies"]
    report([f"{p.relative_to(TOP)}:1: no README.md that says what lives here" for p in folders
            if not (p / "README.md").is_file()])


def shell_scripts():
    return [name for name in files("*.sh", ".ci/*") if read(name).startswith("#!")]


@pytest.mark.parametrize("name", shell_scripts())
def test_shell_syntax(name):
    shell = "bash" if "bash" in read(name).split("\n")[0] else "sh"
    done = subprocess.run([shell, "-n", name], cwd=TOP, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
