/*
 * Policies from disk: -c paths become a set of parsed policies, with zones checked.
 *
 *     policy_set_load(&globals->policy_paths, &set, err);      ERR_POLICY when any file has errors
 *     policy_set_find(set, "automatos", &policy, err);         one cluster
 *     policy_set_find_job(set, "automatos/nightly", &policy, &job, err);
 *     policy_set_free(set);
 *
 * A path is a file, or a folder whose *.yaml and *.yml are taken in order of their names. An empty
 * list means $PGCAIRN_POLICY, else /etc/pgcairn/policies. What policy_parse() can't know is checked
 * here and becomes a problem of the file with its place: time zones, two policies of one cluster,
 * and secrets that others could read (a policy with a password or a secret key in it,
 * password_file:, passfile:).
 *
 * A set is immutable; threads may share it.
 */
#ifndef PGCAIRN_WORK_POLICY_LOAD_H
#define PGCAIRN_WORK_POLICY_LOAD_H

#include "base/strv.h"
#include "policy/policy.h"

#define POLICY_FOLDER "/etc/pgcairn/policies"

enum { POLICY_SET_MAX = 1000 }; /* policies of one set */

struct policy_set;

/* Loads every file, also when one is bad. ERR_POLICY with the first error as the message and the
 * number of further ones as the hint; use policy_set_load_all() to see them all. */
int policy_set_load(const struct strv *paths, struct policy_set **ret_set, struct error *err);

/* What a file gave: its policy (NULL when it has errors) and its problems. */
struct policy_file {
    char *path;
    struct policy *policy;
    struct policy_problems problems;
};

/* As policy_set_load, but files with errors are no error here: look at policy_set_file(). */
int policy_set_load_all(const struct strv *paths, struct policy_set **ret_set, struct error *err);
size_t policy_set_file_count(const struct policy_set *set);
const struct policy_file *policy_set_file(const struct policy_set *set, size_t index);

/* The good policies. */
size_t policy_set_count(const struct policy_set *set);
const struct policy *policy_set_get(const struct policy_set *set, size_t index);
struct policy_set *policy_set_free(struct policy_set *set);

/* ERR_USAGE with the nearest name when there is none. */
int policy_set_find(const struct policy_set *set, const char *cluster,
                    const struct policy **ret_policy, struct error *err);
int policy_set_find_job(const struct policy_set *set, const char *cluster_and_job,
                        const struct policy **ret_policy, const struct policy_job **ret_job,
                        struct error *err);

/* What libpq takes for this job (NULL: the policy's own connection): with the password of
 * password_file:, which goes with the policy's own connection only, or the passfile. Secret; the
 * caller frees. */
int policy_connection(const struct policy *policy, const struct policy_job *job,
                      char **ret_conninfo, struct error *err);

DEFINE_FREEP(struct policy_set *, policy_set_free)

#endif
