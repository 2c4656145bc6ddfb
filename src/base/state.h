/*
 * Where this program keeps what it remembers on a machine: $STATE_DIRECTORY (systemd; its first
 * path), else /var/lib/pgcairn for root and for who may write there, else the user's own
 * $XDG_STATE_HOME/pgcairn or ~/.local/state/pgcairn; ~ is $HOME, or without it what the system
 * knows of the user. The folder need not exist.
 */
#ifndef PGCAIRN_BASE_STATE_H
#define PGCAIRN_BASE_STATE_H

#include "base/error.h"

#define STATE_SYSTEM_FOLDER "/var/lib/pgcairn"

/* The caller frees. ERR_PERMISSION when there is no folder of this user's. */
int state_folder(char **ret_folder, struct error *err);

/* The user's own alone; NULL when there is none. The caller frees. */
char *state_user_folder(void);

#endif
