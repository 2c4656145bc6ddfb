"""Includes point down: a folder includes from itself and from what its link list names."""
import re

from sources import TOP, blank, c_files, line_of, read, report

LAYER = re.compile(r"pgcairn_layer\(\s*(\w+)([^)]*)\)")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def allowed_folders(cmake):
    """{folder: folders it may include from} as src/CMakeLists.txt links them."""
    return {m.group(1): {m.group(1), *re.findall(r"pgcairn_(\w+)", m.group(2))} for m in LAYER.finditer(cmake)}


def upward_includes(name, text, allowed):
    folder = re.match(r"(?:src|tests/unit)/(\w+)/", name)
    if not folder:
        return []  # main.c stands above everything
    code = blank(text, keep_strings=True)
    found = []
    for match in INCLUDE.finditer(code):
        where = f"{name}:{line_of(code, match.start())}"
        target = match.group(1).split("/")[0]
        if "/" not in match.group(1) and name.startswith("src/"):
            found.append(f"{where}: include \"FOLDER/{match.group(1)}\", relative to src")
        elif target in allowed and target not in allowed.get(folder.group(1), set()):
            found.append(f"{where}: {folder.group(1)} does not link {target}, so it may not include from it")
    return found


def test_includes_point_down():
    allowed = allowed_folders(read("src/CMakeLists.txt"))
    report([f for name in c_files() for f in upward_includes(name, read(name), allowed)])


def test_layers_have_no_cycle():
    """A folder may link only what the list names above it."""
    seen = set()
    for folder, links in allowed_folders(read("src/CMakeLists.txt")).items():
        assert links - {folder} <= seen, f"src/CMakeLists.txt: {folder} links {links - {folder} - seen}, which stands below it"
        seen.add(folder)


def test_every_folder_is_a_layer():
    allowed = allowed_folders(read("src/CMakeLists.txt"))
    report([f"src/{p.name}:1: has sources but no pgcairn_layer() in src/CMakeLists.txt"
            for p in sorted((TOP / "src").iterdir()) if p.is_dir() and list(p.glob("*.c")) and p.name not in allowed])


def test_checks_see():
    allowed = allowed_folders("pgcairn_layer(base X::Y)\npgcairn_layer(store\n  pgcairn_base P::Q)\n")
    assert allowed == {"base": {"base"}, "store": {"store", "base"}}
    assert len(upward_includes("src/base/a.c", '\n#include "store/store.h"\n', allowed)) == 1
    assert upward_includes("src/base/a.c", '/*\n#include "store/store.h" */\n#include <store/x.h>', allowed) == []
    assert upward_includes("src/store/a.c", '#include "base/error.h"', allowed) == []
    assert len(upward_includes("tests/unit/base/test_a.c", '#include "store/store.h"', allowed)) == 1
