/*
 * Every command, declared by the file that holds it. A new command is a declaration here and a row
 * in the table of command.c.
 */
#ifndef PGCAIRN_COMMAND_COMMANDS_H
#define PGCAIRN_COMMAND_COMMANDS_H

#include "command/command.h"

/* One line per command, in the order of help: X(struct command). */
#define COMMAND_LIST(X)         \
    X(COMMAND_POLICY_CHECK)     \
    X(COMMAND_POLICY_INIT)      \
    X(COMMAND_SCHEDULE)         \
    X(COMMAND_CHECK)            \
    X(COMMAND_DAEMON)           \
    X(COMMAND_RUN)              \
    X(COMMAND_DRILL)            \
    X(COMMAND_STATUS)           \
    X(COMMAND_PAUSE)            \
    X(COMMAND_RESUME)           \
    X(COMMAND_NOTIFY)           \
    X(COMMAND_METRICS)          \
    X(COMMAND_LOG)              \
    X(COMMAND_LIST_BACKUPS)     \
    X(COMMAND_SHOW)             \
    X(COMMAND_RESTORE_DUMP)     \
    X(COMMAND_RESTORE_SNAPSHOT) \
    X(COMMAND_EXPORT)           \
    X(COMMAND_GUARD)            \
    X(COMMAND_VERIFY)           \
    X(COMMAND_PRUNE)            \
    X(COMMAND_SIMULATE)         \
    X(COMMAND_AUDIT)            \
    X(COMMAND_HOLD_ADD)         \
    X(COMMAND_HOLD_LIST)        \
    X(COMMAND_HOLD_RELEASE)     \
    X(COMMAND_CRON_NEXT)        \
    X(COMMAND_WAL_STATUS)       \
    X(COMMAND_WAL_PUSH)         \
    X(COMMAND_WAL_FETCH)        \
    X(COMMAND_WAL_AHEAD)        \
    X(COMMAND_WAL_RECEIVE)      \
    X(COMMAND_CLUSTER_ADOPT)    \
    X(COMMAND_REFERENCE)

#define X(name) extern const struct command name;
COMMAND_LIST(X)
#undef X

#endif
