/*
 * The keys of the policy file as tables: what each is called, what it takes, where it goes. One
 * reader walks any section by its table, so strictness, ranges and suggestions are the same
 * everywhere, and a new key is a row.
 *
 *     section_read(&reader, &section_job, map, job)
 *
 * Problems go to reader->problems and reading goes on; only ERR_MEMORY is returned.
 */
#ifndef PGCAIRN_POLICY_KEYS_H
#define PGCAIRN_POLICY_KEYS_H

#include "policy/features.h"
#include "policy/policy.h"
#include "policy/document.h"

struct reader {
    const struct policy_world *world;
    struct policy *policy;
    struct policy_problems *problems;
    struct error *err;
    const struct policy_job *job; /* whose section is read; NULL outside of jobs */
    bool job_unavailable;         /* its type was refused already: its own keys need not be */
    const struct document_node *default_hooks; /* of defaults; NULL when there are none */
};

enum value_type {
    VALUE_TEXT,     /* char *, may be empty */
    VALUE_PATH,     /* char *, an absolute path */
    VALUE_TEXTS,    /* struct strv: a list of texts that are not empty, or one text */
    VALUE_INTEGER,  /* int */
    VALUE_SWITCH,   /* bool */
    VALUE_DURATION, /* int64_t */
    VALUE_SIZE,     /* int64_t */
    VALUE_WORD,     /* an enum: the index of the word */
    VALUE_WORDS,    /* unsigned: a bit for each word of a list, or of one word */
    VALUE_SECTION,  /* a map by its own table, into the same struct */
    VALUE_ANY,      /* not looked into here */
    VALUE_OWN,      /* by its own function */
};

#define NOWHERE SIZE_MAX /* checked and not kept: the feature that reads it is not built */
#define FOR_ALL 0u
#define FOR(type) (1u << (type))

struct section;

struct key {
    const char *name;
    enum value_type type;
    size_t offset; /* in the struct of the section */
    enum feature feature;
    unsigned job_types; /* for which it has a meaning, in jobs */
    int64_t low, high;  /* of numbers, durations, sizes */
    const char *const *words;
    const struct section *section;
    int (*read)(struct reader *reader, const struct document_node *value, void *target);
    const char *takes;    /* in the reference, where type and range do not tell; NULL: they do */
    const char *fallback; /* what holds without it, as the reference says it; NULL: nothing */
    const char *help;     /* one line of the reference, without a full stop */
};

struct section {
    const char *name; /* "repository"; "" for the file itself */
    const struct key *keys;
    size_t count;
    const struct section *also; /* further keys of the same struct; NULL when none */
};

extern const struct section section_policy, section_defaults, section_job, section_keep,
    section_assertion;

int section_read(struct reader *reader, const struct section *section,
                 const struct document_node *map, void *target);

/* The value of a key in a map, NULL when absent; and the key itself. */
const struct document_node *map_value(const struct document_node *map, const char *name);
const struct document_node *map_key(const struct document_node *map, const char *name);

/* What a value looks like in the file, short and without secrets; for messages. */
const char *value_shown(const struct document_node *value, char text[64]);

int value_error(struct reader *reader, const struct document_node *value, const char *format, ...)
    _printf_(3, 4);

/* Copies the text of a scalar; a problem when it is none or empty. */
int value_copy(struct reader *reader, const struct document_node *value, const char *name,
               char **ret_text);

/* Copies the name of a time zone and asks the world about it; sets *ret_place. */
int value_timezone(struct reader *reader, const struct document_node *value, char **ret_timezone,
                   struct policy_place *ret_place);

/* Readers of values that need more than a table. */
int read_connection(struct reader *reader, const struct document_node *value, void *policy);
int read_job_connection(struct reader *reader, const struct document_node *value, void *job);
int read_keep(struct reader *reader, const struct document_node *value, void *job);

/* Reads jobs: into reader->policy; each begins as a copy of `defaults`, which owns nothing. */
int read_jobs(struct reader *reader, const struct document_node *key,
              const struct document_node *value, const struct policy_job *defaults);

/* Warnings about a policy that has no errors: what it does not do though it looks as if. */
int policy_warn(struct reader *reader);

#endif
