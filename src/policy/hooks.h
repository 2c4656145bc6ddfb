/*
 * `hooks:` of a job and of defaults: programs that run around a job.
 *
 *     hooks:
 *       before:  [[/usr/local/bin/pause-sync, app]]      each a list of words: no shell splits them
 *       after:   [/usr/local/bin/resume-sync, app]       one program may stand without its list
 *       failure: [[/usr/local/bin/page, dba]]
 *       timeout: 5m                                      of each program
 *
 * What a job does not say it takes from defaults, each of before, after, failure and timeout by
 * itself; an empty list says that there is none. src/work/hooks.h tells when they run.
 */
#ifndef PGCAIRN_POLICY_HOOKS_H
#define PGCAIRN_POLICY_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/instant.h"
#include "base/strv.h"

enum { HOOKS_MAX = 10, HOOK_WORDS_MAX = 100 };

#define HOOK_TIMEOUT_US (5 * US_PER_MINUTE)

enum hook_phase { HOOK_BEFORE, HOOK_AFTER, HOOK_FAILURE, HOOK_PHASE_COUNT };

struct policy_hook_list {
    bool is_set;
    struct strv *programs; /* each an argv */
    size_t count;
};

struct policy_hooks {
    struct policy_hook_list phases[HOOK_PHASE_COUNT];
    int64_t timeout_us; /* of each program; 0 while not read */
};

const char *hook_phase_name(enum hook_phase phase); /* "before" */

/* How long all of them may take. */
int64_t policy_hooks_longest_us(const struct policy_hooks *hooks);

struct reader;
struct document_node;
struct section;

extern const struct section section_hooks;

/* Into a struct policy_job; of defaults it is only looked at, and kept for hooks_inherit(). */
int hooks_read(struct reader *reader, const struct document_node *value, void *job);
int hooks_inherit(struct reader *reader, struct policy_hooks *hooks);
void policy_hooks_clear(struct policy_hooks *hooks);

#endif
