/*
 * The policy that the daemon hands down on stdin: the text it has read, so that a run is by the
 * policy that was good when it was loaded, whatever became of the file since. The file of -c is its
 * name for messages.
 */
#ifndef PGCAIRN_COMMAND_POLICY_STDIN_H
#define PGCAIRN_COMMAND_POLICY_STDIN_H

#include "command/command.h"
#include "policy/policy.h"

int policy_stdin_read(const struct globals *globals, struct policy **ret_policy, struct error *err);

#endif
