"""A load whose every committed state can be told: pgbench, and marks with the moments around their commits.

    bank = Bank(server)                   the tables of pgbench, and one of marks, in the database bank
    with bank.busy():                     pgbench and a writer of marks, until the block ends
        ...
    bank.check(copy, moment)              what recovery to that moment must have given back
    bank.check(copy)                      the same for the end of all WAL
"""
import random
import signal
import subprocess
import threading
from bisect import bisect_right
from contextlib import contextmanager
from datetime import datetime

from pg import BINDIR, end_process

CLIENTS = 2
PAUSE_SECONDS = 0.1
STAMP = "to_char({} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
NOW = STAMP.format("clock_timestamp()")
SUMS = ("select sum(abalance) from pgbench_accounts", "select sum(tbalance) from pgbench_tellers",
        "select sum(bbalance) from pgbench_branches", "select coalesce(sum(delta), 0) from pgbench_history")


class Load:
    """pgbench, until the block ends."""

    def __init__(self, server, database="postgres", rate=0):
        """rate: transactions in a second; 0 as many as there can be."""
        self.server, self.database = server, database
        self.rate = ["-R", str(rate)] if rate else []

    def fill(self):
        self.server.program("pgbench", "-i", "-q", "-s", "1", database=self.database)
        return self

    def __enter__(self):
        self.process = subprocess.Popen([BINDIR / "pgbench", "-n", "-c", str(CLIENTS), "-T", "600", *self.rate],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env=self.server.environment(self.database))
        return self

    def __exit__(self, *_):
        end_process(self.process, signal.SIGTERM)


class Mark:
    """A row, and the server's clock before it was begun and after it was committed."""

    def __init__(self, number, before, after):
        self.number, self.before, self.after = number, before, after


class Writer(threading.Thread):
    """Writes marks until it is stopped; an error is raised there."""

    def __init__(self, server, first):
        super().__init__(daemon=True)
        self.server, self.number = server, first
        self.marks, self.ends, self.wrong = [], threading.Event(), None

    def run(self):
        try:
            with self.server.session("bank") as session:
                while not self.ends.wait(PAUSE_SECONDS):
                    said = session.execute(f"select {NOW}; insert into marks values ({self.number}); select {NOW}")
                    before, after = said.split("\n")
                    self.marks.append(Mark(self.number, before, after))
                    self.number += 1
        except Exception as wrong:  # pylint: disable=broad-except
            self.wrong = wrong

    def stop(self):
        self.ends.set()
        self.join(60)
        if self.wrong:
            raise self.wrong


class Bank:
    """`rate` keeps the load so low that WAL is stored as fast as it is written."""

    def __init__(self, server, rate=150):
        self.server, self.rate = server, rate
        self.marks, self.commits, self.next = [], [], 1
        server.createdb("bank")
        Load(server, "bank").fill()
        server.psql("bank", "create table marks (n int primary key)")

    def branch(self, server):
        """The bank from now on as another server writes it, which has only some of its marks."""
        other = Bank.__new__(Bank)
        other.server, other.rate = server, self.rate
        other.next = self.next  # no number is used twice, so none passes for that of another timeline
        found = self.numbers(server)
        other.marks = [m for m in self.marks if m.number in found]
        return other

    @contextmanager
    def busy(self):
        writer = Writer(self.server, self.next)
        with Load(self.server, "bank", self.rate):
            writer.start()
            try:
                yield self
            finally:
                writer.stop()
                self.marks += writer.marks
                self.next = writer.number
        # The server remembers when each was committed.
        self.commits = self.server.value("bank", f"select {STAMP.format('pg_xact_commit_timestamp(xmin)')} as at "
                                                 "from pgbench_history order by at").split()

    def random_moment(self, chance, first=None, last=None):
        """A moment of the load, as the server's clock tells it."""
        begin, end = (datetime.fromisoformat(m) for m in (first or self.marks[0].after, last or self.marks[-1].before))
        assert begin < end, f"nothing lies between {begin} and {end}"
        return (begin + (end - begin) * chance.random()).isoformat(timespec="microseconds") + "Z"

    @staticmethod
    def numbers(server):
        return {int(n) for n in server.value("bank", "select n from marks").split()}

    def check(self, copy, moment=None):
        """Every mark that was committed by then and none that was begun later; and no half transaction."""
        until = (moment or "9999").rstrip("Z")
        sure = {m.number for m in self.marks if m.after <= until}
        possible = {m.number for m in self.marks if m.before <= until}
        found = self.numbers(copy)
        assert sure, "no mark was written before: this proves nothing"
        assert not sure - found, f"lost, of {len(sure)} marks until {moment}: {sorted(sure - found)[:20]}"
        assert not found - possible, f"written after {moment}: {sorted(found - possible)[:20]}"
        sums = [copy.value("bank", query) for query in SUMS]
        assert len(set(sums)) == 1, f"accounts, tellers, branches and history differ: {sums}"
        self._check_history(copy, until)

    def _check_history(self, copy, until):
        """As many transactions of pgbench as were committed by then.

        A commit takes its time a moment before its place in WAL, so each session may be one behind.
        """
        expected = bisect_right(self.commits, until)
        found = int(copy.value("bank", "select count(*) from pgbench_history"))
        assert expected > 0 and expected - CLIENTS <= found <= expected, f"{found} transactions of {expected}"


def seeded(name, seed=None):
    """A source of random numbers; the seed stands in the output of a test that fails."""
    seed = int(seed) if seed is not None else random.SystemRandom().randrange(10**6)
    print(f"{name}: seed {seed}")
    return random.Random(seed)
