/*
 * What may stand at the end of a command line, for shells: `pgcairn help --complete -- WORD...`.
 * The last word is the one that the cursor is in, and may be empty. Prints one candidate per line,
 * with a tab and a description behind it where there is one; the line ":files" asks the shell for
 * names of files. The scripts of contrib/completion only ask.
 *
 * Commands and options come from their rows. Clusters and jobs come from the policies that the line
 * names; those that can't be read give nothing. Nothing is asked of a server or a repository.
 */
#ifndef PGCAIRN_COMMAND_COMPLETE_H
#define PGCAIRN_COMMAND_COMPLETE_H

#include "command/command.h"

int complete_print(int argc, char **argv, struct error *err);

#endif
