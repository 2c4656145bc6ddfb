"""Functions that are kept out, descriptors that would leak into children, and I/O in the pure middle."""
import re

import pytest
from sources import c_files, calls, files, read, report

BANNED = {
    "strcpy": "base/buf.h or snprintf", "stpcpy": "base/buf.h or snprintf", "strcat": "base/buf.h",
    "strncat": "base/buf.h", "sprintf": "snprintf", "vsprintf": "vsnprintf", "gets": "getline",
    "atoi": "base/units.h", "atol": "base/units.h", "atoll": "base/units.h", "atof": "strtod",
    "strtol": "base/units.h", "strtok": "strcspn", "system": "base/child.h", "popen": "base/child.h",
    "localtime": "base/instant.h", "localtime_r": "base/instant.h", "gmtime": "base/instant.h",
    "mktime": "base/instant.h", "rand": "getrandom", "srand": "getrandom", "random": "getrandom",
    "alloca": "malloc", "tmpnam": "mkostemp",
}

# An oracle that asked base/ for the time could not find base/ wrong.
ORACLES = {"tests/unit/daemon/test_years.c": ("localtime_r",)}

# Calls that make a descriptor, and what their arguments must hold.
CLOEXEC = {
    "open": "O_CLOEXEC", "openat": "O_CLOEXEC", "openat2": "O_CLOEXEC", "pipe2": "O_CLOEXEC",
    "mkostemp": "O_CLOEXEC", "socket": "SOCK_CLOEXEC", "socketpair": "SOCK_CLOEXEC",
    "accept4": "SOCK_CLOEXEC", "epoll_create1": "EPOLL_CLOEXEC", "eventfd": "EFD_CLOEXEC",
    "signalfd": "SFD_CLOEXEC", "timerfd_create": "TFD_CLOEXEC", "inotify_init1": "IN_CLOEXEC",
    "memfd_create": "MFD_CLOEXEC", "dup3": "O_CLOEXEC",
}
NEVER_CLOEXEC = {
    "pipe": "pipe2", "creat": "open", "mkstemp": "mkostemp", "inotify_init": "inotify_init1",
    "epoll_create": "epoll_create1", "dup": "fcntl(F_DUPFD_CLOEXEC)",
}

# The pure middle gets files, environment and time from its caller (DESIGN: layers).
PURE_FOLDERS = ("cron", "policy", "facts", "retention", "audit")
IMPURE = ("open", "fopen", "getenv", "secure_getenv", "time", "clock_gettime", "gettimeofday",
          "instant_now", "socket", "fork", "printf", "fprintf", "getrandom")


def banned_calls(name, text):
    return [f"{name}:{line}: {call}() is kept out; use {BANNED[call]}" for call, line, _ in calls(text, BANNED)
            if call not in ORACLES.get(name, ())]


def leaking_descriptors(name, text):
    found = [f"{name}:{line}: {call}() without {CLOEXEC[call]}"
             for call, line, arguments in calls(text, CLOEXEC) if CLOEXEC[call] not in arguments]
    found += [f"{name}:{line}: {call}() leaks into children; use {NEVER_CLOEXEC[call]}"
              for call, line, _ in calls(text, NEVER_CLOEXEC)]
    found += [f"{name}:{line}: {call}() without \"e\" in its mode"
              for call, line, arguments in calls(text, ("fopen", "freopen", "fopen64"))
              if not re.search(r'"[^"]*e[^"]*"\s*(,[^,]*)?$', arguments)]
    return found


def impure_calls(name, text):
    return [f"{name}:{line}: {call}() in the pure middle" for call, line, _ in calls(text, IMPURE)]


@pytest.mark.parametrize("check", [banned_calls, leaking_descriptors])
def test_sources(check):
    report([f for name in c_files() for f in check(name, read(name))])


def test_pure_folders():
    report([f for folder in PURE_FOLDERS for name in files(f"src/{folder}/*.[ch]")
            for f in impure_calls(name, read(name))])


@pytest.mark.parametrize("check, text, lines", [
    (banned_calls, "x = atoi(a);\nstrcpy (b, c);\n", [1, 2]),
    (banned_calls, "/* strcpy(a) */ x = \"system(1)\"; // rand()\nint strcpy_like(void);", []),
    (banned_calls, "ops->system(x); ops.rand(); my_atoi(x); char c = '\"'; gets(x); '\"';", [1]),
    (leaking_descriptors, "fd = open(path,\n    O_RDONLY);\nfd = open(p, O_RDONLY | O_CLOEXEC);", [1]),
    (leaking_descriptors, "f = fopen(p, \"r\");\nf = fopen(p, \"re\");\nf = fopen(name(p), \"we\");", [1]),
    (leaking_descriptors, "pipe(fds);\npipe2(fds, O_CLOEXEC);\ndup2(a, b);\nfdopen(fd, \"r\");", [1]),
    (impure_calls, "int64_t now = time(NULL);\nruntime(x);\nlead_time(x);", [1]),
])
def test_checks_see(check, text, lines):
    assert [int(f.split(":")[1]) for f in check("x.c", text)] == lines
