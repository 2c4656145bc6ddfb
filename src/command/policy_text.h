/*
 * A policy as it is in effect: defaults filled in, secrets hidden; as YAML, for people.
 */
#ifndef PGCAIRN_COMMAND_POLICY_TEXT_H
#define PGCAIRN_COMMAND_POLICY_TEXT_H

#include "base/buf.h"
#include "policy/policy.h"

int policy_text(const struct policy *policy, struct buf *out, struct error *err);

#endif
