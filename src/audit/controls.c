/*
 * Every control, one row each: what holds when it passes, how grave it is when it does not, which
 * clauses it answers, what to do. SOC 2 clauses are those of the Trust Services Criteria (2017,
 * points of focus 2022), ISO those of ISO/IEC 27001:2022, annex A. A new control is a row here and
 * a function in the file of its group.
 */
#include "audit/judging.h"

/* clang-format off */
const struct audit_control audit_controls[] = {
    {"COV-1", "coverage", AUDIT_CRITICAL, false, "every database is in a backup or left out by name",
     "A1.2 CC7.5", "A.8.13", "add it to databases: of the policy, or to excluded_databases: of audit:", audit_databases_covered},
    {"COV-2", "coverage", AUDIT_HIGH, false, "every dump comes with the roles and settings of its server",
     "A1.2", "A.8.13", "dump as a role that may read pg_authid, or keep role passwords elsewhere", audit_globals_paired},
    {"COV-3", "coverage", AUDIT_MEDIUM, false, "there is more than one good backup of everything",
     "A1.2", "A.8.13 A.8.14", "run the job once more, and keep more: last: 2", audit_copies},
    {"COV-4", "coverage", AUDIT_MEDIUM, false, "the backups are elsewhere than the server",
     "A1.2", "A.8.13 A.8.14", "keep them on another machine: a bucket, or a disk that is mounted from there", audit_location},

    {"FRQ-1", "frequency", AUDIT_CRITICAL, false, "the backup that was due last is there and good",
     "A1.2 CC7.2", "A.8.13", "see why with pgcairn status, then run the job by hand: pgcairn run CLUSTER/JOB", audit_newest_age},
    {"FRQ-2", "frequency", AUDIT_HIGH, true, "no due backup was missed",
     "A1.2 CC7.2 CC7.4", "A.8.13 A.8.15", "keep the daemon or timer running; on_missed: once makes up for absences", audit_missed},
    {"FRQ-3", "frequency", AUDIT_MEDIUM, false, "runs end well as a rule",
     "A1.2 CC7.2", "A.8.13", "see the errors with pgcairn status and mend their cause", audit_success_rate},

    {"WAL-1", "wal", AUDIT_CRITICAL, false, "WAL is whole from the first snapshot to now",
     "A1.2", "A.8.13", "take a snapshot now; recovery across the gap is impossible", audit_wal_whole},
    {"WAL-2", "wal", AUDIT_HIGH, false, "WAL comes in time",
     "A1.2 CC7.2", "A.8.13", "see pgcairn check and the server's log", audit_wal_lag},
    {"WAL-3", "wal", AUDIT_HIGH, false, "any moment of the promised window can be recovered",
     "A1.2 A1.3", "A.8.13", "take a snapshot, and see pgcairn wal status", audit_recovery_window},
    {"WAL-4", "wal", AUDIT_MEDIUM, false, "no replication slot endangers the server or has lost WAL",
     "A1.1 A1.2", "A.8.6", "start its receiver, or drop the slot", audit_slots},

    {"RET-1", "retention", AUDIT_CRITICAL, true, "nothing was deleted that the rules wanted",
     "A1.2 CC6.5", "A.8.10 A.8.13", "find out who deleted it: the record names them", audit_deleted_rightly},
    {"RET-2", "retention", AUDIT_MEDIUM, false, "nothing is kept beyond the rules",
     "CC6.5 C1.2", "A.8.10", "let the prune job run: pgcairn prune CLUSTER --apply", audit_over_retention},
    {"RET-3", "retention", AUDIT_MEDIUM, false, "the next prune can run by itself",
     "CC6.5", "A.8.10", "look at it: pgcairn prune CLUSTER", audit_plan_ready},
    {"RET-4", "retention", AUDIT_LOW, false, "holds are in force for what exists",
     "C1.2", "A.8.10", "release what is over: pgcairn hold release CLUSTER HOLD --reason TEXT", audit_holds},
    {"RET-5", "retention", AUDIT_HIGH, false, "the bucket deletes nothing by itself that is kept here",
     "A1.2 CC6.1", "A.8.13", "pgcairn check shows each setting with its cure", audit_bucket},
    {"RET-6", "retention", AUDIT_MEDIUM, false, "nothing lies in the repository that belongs to no backup",
     "CC6.5 C1.2", "A.8.10", "prune removes garbage; look at foreign objects and remove them by hand", audit_remains},

    {"INT-1", "integrity", AUDIT_CRITICAL, false, "every object of every backup is there with its size",
     "A1.2 A1.3 PI1.5", "A.8.13", "restore from another backup, and make a new one now", audit_objects},
    {"INT-2", "integrity", AUDIT_HIGH, false, "every backup can be read, and none is damaged",
     "A1.2 PI1.5", "A.8.13", "pgcairn list shows its state; run the job again", audit_states},
    {"INT-3", "integrity", AUDIT_HIGH, true, "what is stored was proved lately",
     "A1.3 PI1.5", "A.8.13", "give the policy a job of type verify, or run pgcairn verify CLUSTER", audit_verified},
    {"INT-4", "integrity", AUDIT_MEDIUM, false, "sizes and rows are like those before",
     "A1.2 CC7.2", "A.8.13", "look whether the database was emptied: pgcairn show CLUSTER ID", audit_sizes},
    {"INT-5", "integrity", AUDIT_CRITICAL, true, "the chain of evidence is unbroken",
     "CC7.2 CC7.3", "A.8.15 A.5.28", "compare with copies of the bucket's versions; find out who wrote there", audit_chain},
    {"INT-6", "integrity", AUDIT_LOW, false, "the server detects damaged blocks",
     "PI1.5", "A.8.13", "stop the server and run pg_checksums --enable", audit_checksums},
    {"INT-7", "integrity", AUDIT_CRITICAL, true, "no backup has vanished that was made",
     "A1.2 PI1.5 CC7.3", "A.8.13 A.8.10", "find out who can delete in the repository; make a backup now", audit_vanished},

    {"RST-1", "restore", AUDIT_HIGH, true, "a restore was tried lately, and worked",
     "A1.3", "A.8.13 A.5.30", "give the policy a job of type drill", audit_drilled},
    {"RST-2", "restore", AUDIT_MEDIUM, true, "a restore takes no longer than it may",
     "A1.3", "A.5.30", "raise jobs: of the restore, take snapshots more often, or change rto:", audit_drill_time},
    {"RST-3", "restore", AUDIT_LOW, true, "restores to any moment are tried, not only to the newest",
     "A1.3", "A.5.30", "let a drill recover to a random moment of the window", audit_drill_moments},

    {"ACC-1", "access", AUDIT_HIGH, false, "the way to the server is encrypted and its name is checked",
     "CC6.1 CC6.7", "A.8.24 A.8.20", "sslmode=verify-full with sslrootcert in the connection", audit_server_tls},
    {"ACC-2", "access", AUDIT_HIGH, false, "the way to the repository is encrypted",
     "CC6.1 CC6.7", "A.8.24 A.8.20", "use an endpoint with https", audit_store_tls},
    {"ACC-3", "access", AUDIT_MEDIUM, false, "what is stored is encrypted at rest",
     "CC6.1", "A.8.24", "set sse: of repository.s3, or encrypt the disk", audit_encrypted},
    {"ACC-4", "access", AUDIT_HIGH, false, "files with secrets and policies belong to their owner alone",
     "CC6.1 CC6.3", "A.8.3 A.8.2", "chmod 600, and chown to root or the service's user", audit_file_modes},
    {"ACC-5", "access", AUDIT_LOW, false, "the role can do no more than its jobs need",
     "CC6.3", "A.8.2", "use a role with pg_read_all_data, and one of its own per job that needs more", audit_role},
    {"ACC-6", "access", AUDIT_CRITICAL, false, "who has no key can neither list nor read the bucket",
     "CC6.1 CC6.6", "A.8.3 A.5.15", "block public access to the bucket: its policy and its ACLs", audit_public},

    {"SCH-1", "schedule", AUDIT_HIGH, false, "the daemon lives",
     "A1.2 CC7.2", "A.8.15", "systemctl start pgcairn", audit_daemon},
    {"SCH-2", "schedule", AUDIT_MEDIUM, false, "the clocks agree",
     "CC7.2", "A.8.17", "run NTP on all machines", audit_clocks},
    {"SCH-3", "schedule", AUDIT_MEDIUM, true, "changes of the policy are on record",
     "CC8.1", "A.8.32 A.8.9", "have a job of type audit run daily: each records the policy's hash", audit_policy_changes},
    {"SCH-4", "schedule", AUDIT_MEDIUM, false, "jobs that leave no backup run and end well too",
     "A1.2 CC7.2", "A.8.13", "see why with pgcairn status", audit_other_jobs},
    {"SCH-5", "schedule", AUDIT_MEDIUM, false, "failures are told to somebody",
     "CC7.2 CC7.3 CC7.4", "A.8.16 A.6.8", "give the policy a section notify: (pgcairn reference notify), and try it with pgcairn notify CLUSTER --test", audit_failures_told},

    {"MNT-1", "maintenance", AUDIT_CRITICAL, false, "no database comes near the wraparound of transaction ids",
     "A1.1", "A.8.6", "VACUUM (FREEZE) that database; see what holds it back (MNT-3)", audit_wraparound},
    {"MNT-2", "maintenance", AUDIT_LOW, false, "no index is invalid: a dump leaves such out",
     "PI1.5", "A.8.8", "reindex index concurrently, or drop it", audit_invalid_indexes},
    {"MNT-3", "maintenance", AUDIT_MEDIUM, false, "nothing holds back the removal of dead rows for long",
     "A1.1", "A.8.6", "end what holds it, by the command in the evidence", audit_xmin_holders},
    {"MNT-4", "maintenance", AUDIT_MEDIUM, false, "collations have the version that indexes were built with",
     "PI1.5", "A.8.8", "REINDEX DATABASE, then ALTER DATABASE ... REFRESH COLLATION VERSION", audit_collations},
};
/* clang-format on */

const size_t audit_control_count = ARRAY_SIZE(audit_controls);
