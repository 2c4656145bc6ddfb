/*
 * Man pages, from the rows of the commands: `pgcairn help --man [COMMAND]` prints pgcairn(1) or
 * pgcairn-COMMAND(1), in the macros of man(7) (groff_man(7)), for packaging/man.sh.
 */
#ifndef PGCAIRN_COMMAND_MANUAL_H
#define PGCAIRN_COMMAND_MANUAL_H

#include "command/command.h"

/* On stdout. ERR_IO when it can't take them. */
int manual_print_all(struct error *err);
int manual_print(const struct command *command, struct error *err);

#endif
