/*
 * The section repository.s3 of the policy: how to reach the bucket of an s3:// repository, and what
 * is asked of what is stored there. Rules of names and limits: Amazon S3 User Guide, "Bucket naming
 * rules", "Categorizing your storage using tags", "Locking objects with Object Lock".
 *
 * Texts are NULL or "" when absent. Secrets never stand in a message.
 */
#ifndef PGCAIRN_POLICY_S3_H
#define PGCAIRN_POLICY_S3_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strv.h"

enum {
    POLICY_S3_PREFIX_MAX = 783, /* with a key of 240 bytes and a "/" it makes 1024, S3's limit */
    POLICY_S3_TAGS_MAX = 10,
    POLICY_S3_TAG_NAME_MAX = 128, /* characters */
    POLICY_S3_TAG_VALUE_MAX = 256,
    POLICY_S3_TEXT_MAX = 2048, /* bytes of any text of the section */
};

enum s3_addressing { S3_ADDRESSING_AUTO, S3_ADDRESSING_PATH, S3_ADDRESSING_VIRTUAL };
enum s3_sse { S3_SSE_NONE, S3_SSE_AES256, S3_SSE_KMS };
enum s3_object_lock { S3_LOCK_OFF, S3_LOCK_GOVERNANCE, S3_LOCK_COMPLIANCE };

struct policy_s3 {
    char *region;
    char *endpoint; /* "https://host[:port]"; absent: AWS */
    enum s3_addressing addressing;
    char *storage_class;
    enum s3_sse sse;
    char *kms_key_id;
    enum s3_object_lock object_lock;
    char *ca_file; /* absolute path */
    char *profile;
    char *access_key_id;
    char *secret_access_key, *session_token; /* secret */
    struct strv tags;                        /* "name=value" */
    int64_t retry_us;                        /* how long one request is tried again */
    bool holds_secret; /* the file itself holds a secret, not only the name of a variable */
    int line, column;  /* of that secret; 0 when there is none */
};

/* The words of the file; NULL behind the last. */
extern const char *const s3_addressing_words[], *const s3_sse_words[], *const s3_lock_words[];

struct reader;
struct document_node;

/* Whether this s3:// URL is one: its bucket and its prefix by S3's rules. Slashes at its end are
 * cut off. Problems are reported at `value`. */
int s3_read_url(struct reader *reader, const struct document_node *value, char *url);

int s3_read_tags(struct reader *reader, const struct document_node *value, void *s3);

/* What single keys can't tell: values, and keys that contradict each other or the URL. */
int s3_check(struct reader *reader, const struct document_node *root);

void policy_s3_clear(struct policy_s3 *s3);

#endif
