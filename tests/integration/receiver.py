"""`wal receive` beside a test: its slot, its output, its state as the server sees it.

    with Receiver(archive) as receiver:             makes the slot and starts it
        receiver.wait_streaming()
        receiver.wait_stored(name)
        receiver.kill(); receiver.start()
    receiver.stop()                                 SIGTERM, exit status 0
"""
import signal
import subprocess
from pathlib import Path

from pg import as_user, clean_environment, die_with_parent, end_process, wait_until

SLOT = "pgcairn_demo"
JOBS = {"wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "7d"}, "mode": "receive", "timeout": "60s"}}


class Receiver:
    def __init__(self, archive, *options, server=None, create=True):
        self.archive, self.options, self.server = archive, options, server or archive.server
        self.process, self.count = None, 0
        if create:
            archive.run("wal", "receive", "demo", "--create-slot")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process:
            end_process(self.process, signal.SIGKILL)

    def start(self, *more):
        self.count += 1
        self.log = self.archive.root / f"receive-{self.count}.err"
        words = [self.archive.bin / "pgcairn", "-v", "-c", self.archive.policy_file, "wal", "receive", "demo",
                 *self.options, *more]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                list(map(str, words)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env=clean_environment(**self.archive.environment()), preexec_fn=die_with_parent,
                **as_user(self.archive.user))
        return self

    @property
    def err(self):
        return self.log.read_text(errors="replace")

    def wait(self, expect=0, seconds=60):
        rc = self.process.wait(seconds)
        assert rc == expect, f"exit status {rc}, expected {expect}:\n{self.err}"
        return self

    def stop(self, expect=0, seconds=40):
        self.process.send_signal(signal.SIGTERM)
        return self.wait(expect, seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def running(self):
        assert self.process.poll() is None, f"the receiver has ended ({self.process.returncode}):\n{self.err}"
        return True

    def wait_streaming(self, seconds=30):
        wait_until(lambda: self.running() and self.slot()["active"], seconds, "the slot is in use")
        return self

    def wait_stored(self, name, seconds=60):
        wait_until(lambda: self.running() and name in self.archive.segments(), seconds, f"{name} is stored")

    def wait_safe(self, seconds=60):
        """All but the segment that is being written is stored and acknowledged."""
        self.wait_stored(self.finish_segment(), seconds)
        wait_until(lambda: self.running() and self.slot()["lag"] < 32 << 20, seconds, "it is acknowledged")
        return self

    def finish_segment(self):
        """Ends the segment; its name."""
        return self.server.psql("postgres", "select pg_create_restore_point('x'); "
                                            "select pg_walfile_name(pg_switch_wal())").split("\n")[-1]

    def slot(self):
        (row,) = self.server.json("postgres", f"""select active, wal_status, restart_lsn::text,
            (pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end,
            restart_lsn))::bigint as lag from pg_replication_slots where slot_name = '{SLOT}'""")
        return row

    def spool(self):
        """The files that wait to be stored."""
        found = [p.name for p in Path(self.archive.state).glob("wal/demo/receive/*/*")]
        return sorted(n for n in found if n != "lock" and not n.endswith(".part"))
