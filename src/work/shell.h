/* Text for the scripts that backups carry with them. */
#ifndef PGCAIRN_WORK_SHELL_H
#define PGCAIRN_WORK_SHELL_H

#include "base/buf.h"

/* Appends '...' of sh. */
void shell_add_quoted(struct buf *script, const char *text);

#endif
