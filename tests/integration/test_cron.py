"""`cron next`: what it prints, and how it refuses. The engine itself is tested in tests/unit/cron."""
import json
import time

import pytest
from cairn import assert_error, run_pgcairn


def fires(*arguments, expect=0):
    return json.loads(run_pgcairn("--json", "cron", "next", *arguments, expect=expect).out)["fires"]


def test_json_is_fires_and_nothing_else():
    run = run_pgcairn("--json", "cron", "next", "30 2 * * *", "--tz", "Europe/Berlin", "--from", "1743291000", "-n", "2")
    assert json.loads(run.out) == {"fires": [1743296400, 1743381000]}
    assert run.err == ""


def test_backwards_and_hashed():
    assert fires("H H * * *", "--prev", "--hash-id", "hello", "--from", "2147483647", "-n", "2") == [2147425800, 2147339400]


def test_six_and_seven_fields():
    assert fires("0 0 * * * 30", "--from", "0", "-n", "1") == [30]
    assert fires("0 0 1 1 * 0 1971,1973", "--from", "0") == [31536000, 94694400]


def test_never_is_no_failure():
    assert fires("0 0 1 1 * 0 2099", "--from", "2543497380", "-n", "3") == [4070908800]
    assert fires("0 0 30 2 *", "--from", "0") == []
    assert "no fire within 50 years" in run_pgcairn("cron", "next", "0 0 30 2 *").out


def test_from_now_by_default():
    now = int(time.time())
    assert 0 < fires("* * * * *", "-n", "1")[0] - now <= 62


def test_table_shows_zone_and_utc():
    out = run_pgcairn("cron", "next", "30 2 * * *", "--tz", "Europe/Berlin", "--from", "1742900000", "-n", "1").out
    assert out.splitlines()[1].split("  ") == ["Wed 2025-03-26 02:30:00 +01:00", "2025-03-26T01:30:00Z", "1742952600"]


@pytest.mark.parametrize("expression, column, words", [
    ("0 24 * * *", 3, "hour 24 is not in 0-23"),
    ("0 3 * *", 8, "4 fields instead of 5"),
    ("\u00e9 0 * * frd", 1, "is no minute"),
    ("@reboot", 1, "no schedule"),
    ("H 3 * * *", 1, "--hash-id"),
])
def test_points_at_the_column(expression, column, words):
    run = run_pgcairn("cron", "next", expression, expect=2)
    assert_error(run, f"column {column}: ", words)
    lines = run.err.splitlines()
    shown = lines.index("  " + expression)
    assert lines[shown + 1] == " " * (column + 1) + "^"
    run = run_pgcairn("--json", "cron", "next", expression, expect=2)
    assert run.out == "" and "^" not in run.err
    assert_error(run, f"column {column}: ", words)


@pytest.mark.parametrize("arguments", [
    ["* * * * *", "--tz", "Mars/Olympus"], ["* * * * *", "--tz", "../../etc/passwd"], ["* * * * *", "-n", "0"],
    ["* * * * *", "--from", "yesterday"], ["-5 * * * *"], [""], [],
])
def test_wrong_usage(arguments):
    run_pgcairn("cron", "next", *arguments, expect=2)
