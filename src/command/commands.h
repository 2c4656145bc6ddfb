/*
 * Every command, declared by the file that holds it. A new command is a declaration here and a row
 * in the table of command.c.
 */
#ifndef PGCAIRN_COMMAND_COMMANDS_H
#define PGCAIRN_COMMAND_COMMANDS_H

#include "command/command.h"

/* One line per command, in the order of help: X(struct command). */
#define COMMAND_LIST(X)

#define X(name) extern const struct command name;
COMMAND_LIST(X)
#undef X

#endif
