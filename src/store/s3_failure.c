#include "store/s3_failure.h"

#include <string.h>

#include "store/s3_xml.h"

enum {
    BAD_REQUEST = 400,
    UNAUTHORIZED = 401,
    FORBIDDEN = 403,
    NOT_FOUND = 404,
    REQUEST_TIMEOUT = 408,
    CONFLICT = 409,
    PRECONDITION_FAILED = 412,
    RANGE_NOT_SATISFIABLE = 416,
    TOO_MANY = 429,
    NOT_IMPLEMENTED = 501,
    NO_STORAGE = 507,
};

struct cause {
    const char *code; /* of <Error> */
    int error;
    enum s3_verdict verdict;
    const char *hint; /* NULL: the cure of the error's code */
};

#define NETWORK_HINT \
    "the service is in trouble or overloaded; a scheduled run is tried again by itself"
#define CLOCK_HINT "set this machine's clock (timedatectl set-ntp true)"
#define KEY_HINT "check access_key_id and secret_access_key, or the AWS_* variables and profile"
#define TOKEN_HINT "the session's credentials have ended: renew them"
#define BUCKET_HINT "create the bucket first, or correct url: in the policy"
#define REGION_HINT "set region: in the policy to the bucket's"
#define CLASS_HINT "restore the object from its archive class first (RestoreObject), then try again"
#define SIZE_HINT "this is a limit of the service"
#define LOCK_HINT                                                                             \
    "a bucket without object lock refuses objects that are to be locked: turn it on for the " \
    "bucket, or take object_lock: out of the policy; \"pgcairn check\" tells whether it is on"

/* Amazon S3 API Reference, "Error responses"; and those that other services answer in their place.
 */
static const struct cause CAUSES[] = {
    {"AuthorizationHeaderMalformed", ERR_AUTH, S3_NEW_REGION, REGION_HINT},
    {"BadDigest", ERR_CORRUPT, S3_AGAIN, NULL},
    {"ConditionalRequestConflict", ERR_CONNECTION, S3_AGAIN, NULL},
    {"EntityTooLarge", ERR_LIMIT, S3_FINAL, SIZE_HINT},
    {"ExpiredToken", ERR_AUTH, S3_NEW_IDENTITY, TOKEN_HINT},
    {"ExpiredTokenException", ERR_AUTH, S3_NEW_IDENTITY, TOKEN_HINT},
    {"IllegalLocationConstraintException", ERR_AUTH, S3_NEW_REGION, REGION_HINT},
    {"IncompleteBody", ERR_CONNECTION, S3_AGAIN, NULL},
    {"InternalError", ERR_CONNECTION, S3_AGAIN, NETWORK_HINT},
    {"InvalidAccessKeyId", ERR_AUTH, S3_FINAL, KEY_HINT},
    {"InvalidDigest", ERR_CORRUPT, S3_AGAIN, NULL},
    {"InvalidObjectState", ERR_FAILED, S3_FINAL, CLASS_HINT},
    {"InvalidToken", ERR_AUTH, S3_NEW_IDENTITY, TOKEN_HINT},
    {"NoSuchBucket", ERR_UNKNOWN, S3_FINAL, BUCKET_HINT},
    {"NoSuchKey", ERR_NOT_FOUND, S3_FINAL, NULL},
    {"NoSuchUpload", ERR_NOT_FOUND, S3_FINAL, NULL},
    {"NoSuchVersion", ERR_NOT_FOUND, S3_FINAL, NULL},
    {"OperationAborted", ERR_CONNECTION, S3_AGAIN, NULL},
    {"PermanentRedirect", ERR_AUTH, S3_NEW_REGION, REGION_HINT},
    {"QuotaExceeded", ERR_NO_SPACE, S3_FINAL, "raise the quota of the bucket or the user"},
    {"RequestExpired", ERR_AUTH, S3_NEW_CLOCK, CLOCK_HINT},
    {"RequestTimeTooSkewed", ERR_AUTH, S3_NEW_CLOCK, CLOCK_HINT},
    {"RequestTimeout", ERR_CONNECTION, S3_AGAIN, NULL},
    {"ServiceUnavailable", ERR_CONNECTION, S3_AGAIN, NETWORK_HINT},
    {"SignatureDoesNotMatch", ERR_AUTH, S3_FINAL, KEY_HINT},
    {"SlowDown", ERR_CONNECTION, S3_AGAIN, NETWORK_HINT},
    {"TemporaryRedirect", ERR_AUTH, S3_NEW_REGION, REGION_HINT},
    {"TokenRefreshRequired", ERR_AUTH, S3_NEW_IDENTITY, TOKEN_HINT},
    {"XAmzContentChecksumMismatch", ERR_CORRUPT, S3_AGAIN, NULL},
    {"XAmzContentSHA256Mismatch", ERR_CORRUPT, S3_AGAIN, NULL},
    {"XMinioStorageFull", ERR_NO_SPACE, S3_FINAL, NULL},
};

/* For people: what a request was about to do. */
static const struct {
    const char *action, *words;
} ACTIONS[] = {
    {"s3:AbortMultipartUpload", "abort an upload of"},
    {"s3:DeleteObject", "delete"},
    {"s3:DeleteObjectVersion", "delete versions of"},
    {"s3:GetBucketObjectLockConfiguration", "read the lock configuration of"},
    {"s3:GetBucketVersioning", "read the versioning of"},
    {"s3:GetLifecycleConfiguration", "read the lifecycle rules of"},
    {"s3:GetObject", "read"},
    {"s3:ListBucket", "list"},
    {"s3:ListBucketMultipartUploads", "list unfinished uploads in"},
    {"s3:ListBucketVersions", "list versions in"},
    {"s3:PutObject", "write"},
    {"s3:PutObjectRetention", "lock"},
};

static const char *words_of(const char *action)
{
    for (size_t i = 0; i < ARRAY_SIZE(ACTIONS); i++)
        if (strcmp(ACTIONS[i].action, action) == 0)
            return ACTIONS[i].words;
    return action;
}

void s3_name_request(const struct s3_store *store, const struct s3_request *request,
                     struct error *err)
{
    error_prefix(err, "could not %s \"s3://%s%s%s\"", words_of(request->action), store->bucket,
                 request->key ? "/" : "", request->key ? request->key : "");
}

static int note_error(const char *path, const char *text, void *context, struct error *err)
{
    struct s3_reply *reply = context;
    (void)err;
    const char *name = strrchr(path, '/');
    if (strncmp(path, "Error/", 6) != 0 || name != path + 5)
        return 0;
    if (strcmp(name, "/Code") == 0)
        snprintf(reply->code, sizeof(reply->code), "%s", text);
    else if (strcmp(name, "/Message") == 0)
        snprintf(reply->message, sizeof(reply->message), "%s", text);
    else if (strcmp(name, "/Region") == 0 && !reply->region[0])
        snprintf(reply->region, sizeof(reply->region), "%.*s", S3_REGION_MAX, text);
    return 0;
}

/* A body that is no XML leaves the code empty: a proxy's page, say. */
static void read_error(struct s3_reply *reply)
{
    struct error ignored = ERROR_NONE;
    if (reply->body.length > 0)
        s3_xml_read(reply->body.data, reply->body.length, note_error, reply, &ignored);
}

static const struct cause *find_cause(const char *code)
{
    for (size_t i = 0; i < ARRAY_SIZE(CAUSES); i++)
        if (strcmp(CAUSES[i].code, code) == 0)
            return &CAUSES[i];
    return NULL;
}

/* Where there is no known code, by the status. */
static struct cause cause_of_status(const struct s3_reply *reply)
{
    switch (reply->status) {
    case UNAUTHORIZED:
    case FORBIDDEN:
        return (struct cause){"", ERR_PERMISSION, S3_FINAL, NULL};
    case REQUEST_TIMEOUT:
    case TOO_MANY:
        return (struct cause){"", ERR_CONNECTION, S3_AGAIN, NETWORK_HINT};
    case PRECONDITION_FAILED:
        return (struct cause){"", ERR_EXISTS, S3_FINAL, NULL};
    case NOT_IMPLEMENTED:
        return (struct cause){"", ERR_FAILED, S3_FINAL, "this S3 service does not have it"};
    case NO_STORAGE:
        return (struct cause){"", ERR_NO_SPACE, S3_FINAL, NULL};
    case NOT_FOUND:
        return (struct cause){"", ERR_UNKNOWN, S3_FINAL,
                              "is the endpoint that of an S3 service? Check endpoint: and url:"};
    default:
        break;
    }
    if (reply->status >= 500)
        return (struct cause){"", ERR_CONNECTION, S3_AGAIN, NETWORK_HINT};
    if (reply->status >= 300 && reply->status < 400)
        return (struct cause){"", ERR_AUTH, S3_NEW_REGION, REGION_HINT};
    return (struct cause){"", ERR_FAILED, S3_FINAL, "the service's documentation lists its errors"};
}

static void describe_skew(const struct s3_reply *reply, struct error *err)
{
    if (reply->date_us == INSTANT_NONE)
        return;
    int64_t seconds = (instant_now_us() - reply->date_us) / US_PER_SECOND;
    bool is_ahead = seconds > 0;
    error_set(err, ERR_AUTH, "%s: the clock here is %lld s %s the service's", reply->code,
              (long long)(is_ahead ? seconds : -seconds), is_ahead ? "ahead of" : "behind");
    error_hint(err, "%s", CLOCK_HINT);
}

/* What services say of a lock that the bucket can't keep has no code of its own. */
static bool is_refused_lock(const struct s3_request *request, const struct s3_reply *reply)
{
    if (reply->status != BAD_REQUEST || strcmp(reply->code, "InvalidRequest") != 0)
        return false;
    for (size_t i = 0; i < request->header_count; i++)
        if (strcmp(request->headers[i].name, "x-amz-object-lock-mode") == 0)
            return true;
    return false;
}

static void explain(const struct s3_store *store, const struct s3_request *request,
                    const struct s3_reply *reply, const struct cause *cause, struct error *err)
{
    const char *code = reply->code;
    if (strcmp(code, "AccessDenied") == 0) {
        error_set(err, ERR_PERMISSION, "AccessDenied: the key may not %s on %s%s%s",
                  request->action, store->bucket, request->key ? "/" : "",
                  request->key ? request->key : "");
        error_hint(err, "allow %s in the policy of the key's user or role, or in the bucket's",
                   request->action);
        return;
    }
    if (code[0])
        error_set(err, cause->error, "%s%s%s", code, reply->message[0] ? ": " : "", reply->message);
    else
        error_set(err, cause->error, "the service answers HTTP %ld", reply->status);
    if (cause->hint)
        error_hint(err, "%s", cause->hint);
    if (is_refused_lock(request, reply))
        error_hint(err, "%s", LOCK_HINT);
    if (cause->verdict == S3_NEW_REGION && reply->region[0])
        error_hint(err, "the bucket is in region %s: set region: %s in the policy", reply->region,
                   reply->region);
    if (cause->verdict == S3_NEW_CLOCK)
        describe_skew(reply, err);
}

/* A range was asked for and came: does it reach as far as it should? */
static enum s3_verdict judge_range(const struct s3_request *request, const struct s3_reply *reply,
                                   struct error *err)
{
    struct s3_range *range = request->range;
    int64_t total = reply->status == 206 ? reply->range_total : reply->length;
    if (range->total >= 0 && total != range->total)
        error_set(err, ERR_CONNECTION, "its size was %lld and is %lld", (long long)range->total,
                  (long long)total);
    else if (total < 0)
        error_set(err, ERR_CONNECTION, "the service does not say how large it is");
    if (err->code)
        return S3_AGAIN;
    range->total = total;
    int64_t left = total - range->offset;
    size_t wanted = left < (int64_t)range->length ? (size_t)(left > 0 ? left : 0) : range->length;
    if (range->got >= wanted)
        return S3_DONE;
    error_set(err, ERR_CONNECTION, "the reply ended after %zu of %zu bytes", range->got, wanted);
    return S3_AGAIN;
}

/* The range begins behind the end: nothing is what is there. */
static bool is_past_end(const struct s3_request *request, const struct s3_reply *reply)
{
    return request->range && reply->status == RANGE_NOT_SATISFIABLE;
}

static enum s3_verdict judge_good(const struct s3_request *request, struct s3_reply *reply,
                                  struct error *err)
{
    if (request->range)
        return judge_range(request, reply, err);
    if (!request->check || !request->check(reply, request->context, err))
        return S3_DONE;
    return S3_AGAIN;
}

enum s3_verdict s3_judge(const struct s3_store *store, const struct s3_request *request,
                         struct s3_reply *reply, struct error *err)
{
    bool is_good = reply->status >= 200 && reply->status < 300;
    if (!is_good || request->may_hold_error)
        read_error(reply);
    if (is_good && !reply->code[0])
        return judge_good(request, reply, err);
    if (is_past_end(request, reply)) {
        request->range->total = reply->range_total;
        return S3_DONE;
    }
    const struct cause *known = find_cause(reply->code);
    struct cause cause = known ? *known : cause_of_status(reply);
    if (!known && reply->status == NOT_FOUND && strcmp(request->method, "HEAD") == 0)
        cause = (struct cause){"", ERR_NOT_FOUND, S3_FINAL, NULL}; /* a HEAD has no <Error> */
    if (reply->status == PRECONDITION_FAILED && request->range)
        cause = (struct cause){"", ERR_FAILED, S3_FINAL, "it was replaced while it was being read"};
    explain(store, request, reply, &cause, err);
    return cause.verdict;
}
