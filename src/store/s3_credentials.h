/*
 * The keys that requests to S3 are signed with, found in the order of the AWS tools (AWS SDKs and
 * Tools Reference Guide, "Credential provider chain"):
 *
 *  1. access_key_id, secret_access_key and session_token of the options (the policy's s3:)
 *  2. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; skipped when the options name a
 *     profile, as "aws --profile" does
 *  3. the profile of the options, of AWS_PROFILE, or "default" in ~/.aws/credentials and config
 *     (s3_profile.h): static keys, or role_arn with web_identity_token_file
 *  4. AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN and AWS_ROLE_SESSION_NAME: STS,
 *     AssumeRoleWithWebIdentity (Kubernetes service accounts)
 *  5. AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN(_FILE)
 *     (ECS, EKS Pod Identity)
 *  6. the metadata service of an EC2 instance, version 2 only; AWS_EC2_METADATA_DISABLED,
 *     AWS_EC2_METADATA_SERVICE_ENDPOINT(_MODE)
 *
 * The first that is configured is taken, and what is wrong with it is an error: another identity is
 * never used in its place. A profile that wants credential_process, sso or source_profile is
 * refused; so is a file of secrets that others than its owner may use (ERR_PERMISSION).
 *
 *     s3_credentials_open(&options, &source, err);         chooses; no network
 *     s3_credentials_get(source, &credentials, err);       before every signature
 *     s3_credentials_reject(source, &credentials);         after ExpiredToken or InvalidToken
 *     s3_credentials_clear(&credentials);
 *     s3_credentials_free(source);
 *
 * Errors: ERR_USAGE for settings that contradict each other, ERR_AUTH when there are none or the
 * service refuses to give any, ERR_CONNECTION when it can't be reached or makes no sense,
 * ERR_PERMISSION, ERR_LIMIT, ERR_INTERRUPTED after s3_credentials_stop(). No message holds a
 * secret. Any number of threads may use a source; the environment must not change meanwhile.
 */
#ifndef PGCAIRN_STORE_S3_CREDENTIALS_H
#define PGCAIRN_STORE_S3_CREDENTIALS_H

#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

enum {
    S3_KEY_ID_MAX = 128,
    S3_SECRET_MAX = 256,
    S3_TOKEN_MAX = 16384, /* they have 1 to 4 KB as a rule */
    S3_REGION_MAX = 63,
    S3_ENDPOINT_MAX = 1023,
};

/* How long before their end credentials are renewed, and the pause after a try that brought nothing
 * better while the old ones still live. */
#define S3_RENEW_AHEAD_US (5 * US_PER_MINUTE)
#define S3_RENEW_PAUSE_US (20 * US_PER_SECOND)

struct s3_credentials {
    char access_key_id[S3_KEY_ID_MAX + 1];
    char secret_access_key[S3_SECRET_MAX + 1];
    char session_token[S3_TOKEN_MAX + 1]; /* "" when there is none */
    int64_t expires_us;                   /* INSTANT_NONE: never, or not told */
};

struct s3_credentials_source;

int s3_credentials_open(const struct store_s3_options *options,
                        struct s3_credentials_source **ret_source, struct error *err);

/* From memory, renewed when fewer than five minutes are left. If that fails while the old ones
 * live, they serve on. While one thread renews, others get the old ones or wait. */
int s3_credentials_get(struct s3_credentials_source *source, struct s3_credentials *ret_credentials,
                       struct error *err);

/* The service did not accept these: the next get fetches others, from where others can come.
 * Nothing happens when they have been replaced since, so many requests may report the same. */
void s3_credentials_reject(struct s3_credentials_source *source,
                           const struct s3_credentials *rejected);

/* A fetch in progress ends soon, later ones at once. From any thread, never undone. */
void s3_credentials_stop(struct s3_credentials_source *source);

/* "profile \"backup\"", "instance metadata": where they come from, for messages and check. */
const char *s3_credentials_origin(const struct s3_credentials_source *source);

void s3_credentials_clear(struct s3_credentials *credentials); /* overwrites */
struct s3_credentials_source *s3_credentials_free(struct s3_credentials_source *source);

/* The option, AWS_REGION, AWS_DEFAULT_REGION, the profile's region; else "". */
int s3_find_region(const struct store_s3_options *options, char region[S3_REGION_MAX + 1],
                   struct error *err);

/* The option, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's endpoint_url for s3 or for all;
 * else "", which is AWS. AWS_IGNORE_CONFIGURED_ENDPOINT_URLS leaves only the option. */
int s3_find_endpoint(const struct store_s3_options *options, char endpoint[S3_ENDPOINT_MAX + 1],
                     struct error *err);

DEFINE_FREEP(struct s3_credentials_source *, s3_credentials_free)

#endif
