/*
 * Preflight: would the jobs of a policy work if they ran now? Looks at the server, its databases
 * and rights, the programs, the clocks and the repository (where it writes, reads, lists and
 * deletes one small object, and reads what a bucket does by itself), and says for each what it saw
 * and what to do. Changes nothing else.
 *
 * A check that can't be made is UNKNOWN, never PASS.
 */
#ifndef PGCAIRN_WORK_CHECK_H
#define PGCAIRN_WORK_CHECK_H

#include <jansson.h>

#include "policy/policy.h"
#include "repository/repository.h"

/* Clocks further apart than this are a fault: retention and schedules go by the clock here. */
#define CHECK_SKEW_MAX_US (60 * US_PER_SECOND)

/* *ret_checks: a list of {"id","cluster","status":"pass|warn|fail|unknown","observed","cure"}. */
int check_policy(const struct policy *policy, json_t **ret_checks, struct error *err);

#endif
