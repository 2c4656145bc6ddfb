"""The daemon while its clock is set: libfaketime shifts the clock of the wall, for it and its runs, and leaves
CLOCK_BOOTTIME alone. That a timer is cut short by the set is the kernel's alone (TFD_TIMER_CANCEL_ON_SET) and not seen
here: the jobs come so often that the daemon looks by itself."""
import glob
import os
import time

import pytest
from pg import wait_until
from test_daemon import EVERY_2_S, SECOND, begun, daemon_workspace, rows, stop

pytestmark = pytest.mark.stores("file")

STEP = 2 * SECOND
MINUTE, HOUR = 60, 3600


class Clock:
    """The clock of the wall of those who are started with `env`."""

    def __init__(self, folder):
        libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        assert libraries, "faketime is not installed: sh packaging/install-deps.sh"
        self.file, self.offset = folder / "clock", 0
        self.set(0)
        self.env = {"LD_PRELOAD": libraries[0], "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}

    def set(self, seconds):
        """By so many seconds, forwards or back. Returns what it tells now, in microseconds."""
        self.offset += seconds
        (self.file.parent / "clock.new").write_text(f"{self.offset:+d}\n")
        os.replace(self.file.parent / "clock.new", self.file)
        return self.now_us()

    def now_us(self):
        return time.time_ns() // 1000 + self.offset * SECOND


def dues(ws, where):
    return sorted(r["due_us"] for r in rows(ws, f"job = 'often' and due_us is not null and {where}"))


def done_since(ws, at_us, count):
    """Waits for runs of due instants after an instant; returns their due instants."""
    wait_until(lambda: len(dues(ws, f"outcome = 'done' and due_us > {at_us}")) >= count, 60, "runs after the clock was set")
    return dues(ws, f"outcome = 'done' and due_us > {at_us}")


def test_small_steps(workspace, database, tmp_path):
    """Back: no due instant comes twice, none is lost. Forwards: what passed is run once, the rest is on record."""
    ws, clock = daemon_workspace(workspace, database, overlap="queue"), Clock(tmp_path)
    with ws.start("daemon", env=clock.env) as daemon:
        begun(ws, daemon)
        done_since(ws, 0, 1)
        back_us = clock.set(-6)
        seen = done_since(ws, back_us + 6 * SECOND, 1)
        every = dues(ws, "true")
        assert every[-1] >= seen[-1] and every == list(range(every[0], every[-1] + 1, STEP)), "a due instant is missing or there twice"
        before_us = clock.now_us()
        after_us = clock.set(20 * MINUTE)
        newest_us = done_since(ws, after_us - STEP, 1)[0]
        stop(daemon)
    passed = [(r["outcome"], r["message"] or "") for r in rows(ws, f"due_us > {before_us} and due_us < {newest_us}")]
    missed = [message for _, message in passed if message.startswith("missed: ")]
    assert len(missed) == 1 and 590 <= int(missed[0].split()[1]) <= 602, passed
    assert len(passed) <= 2, "the newest alone is run, beside what had begun"
    every = dues(ws, "true")
    assert len(every) == len(set(every))


def test_a_correction(workspace, database, tmp_path):
    """Three hours or more: the clock was wrong before. Nothing is made up, and the jobs go on from now."""
    ws, clock = daemon_workspace(workspace, database), Clock(tmp_path)
    with ws.start("daemon", env=clock.env) as daemon:
        begun(ws, daemon)
        done_since(ws, 0, 1)
        before_us = clock.now_us()
        after_us = clock.set(5 * HOUR)
        done_since(ws, after_us, 2)
        made_up = dues(ws, f"due_us > {before_us + STEP} and due_us <= {after_us - STEP}")
        assert made_up == [], "what passed by a correction was made up"
        back_us = clock.set(-5 * HOUR)
        wait_until(lambda: dues(ws, f"outcome = 'done' and due_us > {back_us} and due_us < {after_us}"), 60,
                   "a run after the clock was set back")
        assert dues(ws, f"due_us > {clock.now_us() + STEP}") == [], "claims in the future were not forgotten"
        stop(daemon)
    assert not rows(ws, "message like 'missed: %'")
