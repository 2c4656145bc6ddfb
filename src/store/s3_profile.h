/*
 * One profile of the shared files of the AWS tools (AWS SDKs and Tools Reference Guide, "Shared
 * config and credentials files"): ~/.aws/credentials with sections "[NAME]" and ~/.aws/config with
 * "[profile NAME]", "[default]" and "[services NAME]"; AWS_SHARED_CREDENTIALS_FILE and
 * AWS_CONFIG_FILE name others. What is read of the form:
 *
 *     # and ; begin a comment at the start of a line, and behind a blank
 *     [profile name]                    also with quotes; sections of one name are one section
 *     region = eu-central-1             names in any case; of two the later counts
 *     s3 =                              what is indented deeper than a setting belongs to it
 *         addressing_style = path
 *
 * Lines may end in CRLF. A line that is none of these is an error that names file and line, never
 * what it says: it may be a secret.
 */
#ifndef PGCAIRN_STORE_S3_PROFILE_H
#define PGCAIRN_STORE_S3_PROFILE_H

#include "base/buf.h"
#include "base/error.h"

enum {
    S3_PROFILE_FILE_MAX = 1 << 20, /* bytes of one file */
    S3_PROFILE_NAME_MAX = 256,
    S3_PROFILE_PATH_MAX = 1024,
};

struct s3_profile_entry;

struct s3_profile_file {
    char path[S3_PROFILE_PATH_MAX];
    bool is_absent;
    bool is_named;    /* the environment says where it is */
    bool is_config;   /* sections are "[profile NAME]" */
    bool has_profile; /* a section of the profile's name is in it */
    struct buf text;  /* cut into the pieces that entries point to */
    struct s3_profile_entry *entries;
    size_t count;
};

struct s3_profile {
    char name[S3_PROFILE_NAME_MAX];
    bool is_named; /* by the policy or AWS_PROFILE; else it is "default" */
    struct s3_profile_file credentials, config;
};

/*
 * Reads the profile `name`, or when that is NULL or "" the one of AWS_PROFILE, or "default".
 * Absent files are empty ones, but a named profile must exist (ERR_USAGE). ERR_PERMISSION when
 * others may read a file with secrets. *ret_profile must be cleared, after a failure too.
 */
int s3_profile_read(const char *name, struct s3_profile *ret_profile, struct error *err);
void s3_profile_clear(struct s3_profile *profile);

/* The value of a setting, NULL when it is absent or empty; borrowed. From one file, or from the
 * first of credentials and config that has it. */
const char *s3_profile_file_get(const struct s3_profile *profile,
                                const struct s3_profile_file *file, const char *key);
const char *s3_profile_get(const struct s3_profile *profile, const char *key);

/* endpoint_url of a service ("s3", "sts") in the "[services ...]" section that the profile names,
 * else the profile's endpoint_url, else NULL. */
const char *s3_profile_endpoint(const struct s3_profile *profile, const char *service);

#endif
