#include "store/s3_sign.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/instant.h"
#include "store/sha256.h"

enum { HMAC_BYTES = 32, DAY_LENGTH = 8, SECRET_MAX = 512 };

static const char ALGORITHM[] = "AWS4-HMAC-SHA256";

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void s3_encode(struct buf *buf, const char *text, bool keep_slash)
{
    for (const char *c = text; *c; c++) {
        if (is_unreserved(*c) || (keep_slash && *c == '/'))
            buf_add(buf, c, 1);
        else
            buf_addf(buf, "%%%02X", (unsigned char)*c);
    }
}

void s3_date(int64_t time_us, char date[S3_DATE_MAX])
{
    struct civil civil;
    int64_t seconds = time_us / US_PER_SECOND - (time_us % US_PER_SECOND < 0);
    civil_from_seconds(seconds, &civil);
    snprintf(date, S3_DATE_MAX, "%04u%02u%02uT%02u%02u%02uZ", (unsigned)civil.year % 10000,
             (unsigned)civil.month % 100, (unsigned)civil.day % 100, (unsigned)civil.hour % 100,
             (unsigned)civil.minute % 100, (unsigned)civil.second % 100);
}

static int compare_headers(const void *a, const void *b)
{
    return strcmp(((const struct s3_header *)a)->name, ((const struct s3_header *)b)->name);
}

static void add_signed_names(const struct s3_header *headers, size_t count, struct buf *buf)
{
    for (size_t i = 0; i < count; i++)
        buf_addf(buf, "%s%s", i > 0 ? ";" : "", headers[i].name);
}

static void add_canonical_request(const struct s3_signing *signing, const struct s3_header *headers,
                                  struct buf *buf)
{
    buf_addf(buf, "%s\n%s\n%s\n", signing->method, signing->path, signing->query);
    for (size_t i = 0; i < signing->header_count; i++)
        buf_addf(buf, "%s:%s\n", headers[i].name, headers[i].value);
    buf_add_text(buf, "\n");
    add_signed_names(headers, signing->header_count, buf);
    buf_addf(buf, "\n%s", signing->payload_sha256);
}

static int hmac(const void *key, size_t key_length, const char *text,
                unsigned char result[HMAC_BYTES], struct error *err)
{
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (!HMAC(EVP_sha256(), key, (int)key_length, (const unsigned char *)text, strlen(text), out,
              &length) ||
        length != HMAC_BYTES)
        return error_set(err, ERR_FAILED, "the cryptographic library could not sign a request");
    memcpy(result, out, HMAC_BYTES);
    return 0;
}

/* The key of a day, region and service, from the secret one. */
static int derive_key(const struct s3_signing *signing, const char *day,
                      unsigned char key[HMAC_BYTES], struct error *err)
{
    char secret[SECRET_MAX + 5];
    int length = snprintf(secret, sizeof(secret), "AWS4%s", signing->secret_access_key);
    if (length < 0 || (size_t)length >= sizeof(secret))
        return error_set(err, ERR_LIMIT, "the secret access key is longer than %d bytes",
                         SECRET_MAX);
    int rc = hmac(secret, (size_t)length, day, key, err);
    explicit_bzero(secret, sizeof(secret));
    const char *const STEPS[] = {signing->region, signing->service, "aws4_request"};
    for (size_t i = 0; !rc && i < ARRAY_SIZE(STEPS); i++)
        rc = hmac(key, HMAC_BYTES, STEPS[i], key, err);
    return rc;
}

static int sign_request(const struct s3_signing *signing, const char *scope, const char *date,
                        const char *request_sha256, char signature[HMAC_BYTES * 2 + 1],
                        struct error *err)
{
    unsigned char key[HMAC_BYTES], bytes[HMAC_BYTES];
    char day[DAY_LENGTH + 1], text[512];
    memcpy(day, date, DAY_LENGTH);
    day[DAY_LENGTH] = '\0';
    snprintf(text, sizeof(text), "%s\n%s\n%s\n%s", ALGORITHM, date, scope, request_sha256);
    int rc = derive_key(signing, day, key, err);
    if (!rc)
        rc = hmac(key, sizeof(key), text, bytes, err);
    explicit_bzero(key, sizeof(key));
    for (size_t i = 0; !rc && i < sizeof(bytes); i++)
        snprintf(signature + i * 2, 3, "%02x", bytes[i]);
    return rc;
}

int s3_sign(const struct s3_signing *signing, char authorization[S3_AUTHORIZATION_MAX],
            struct error *err)
{
    struct s3_header headers[S3_SIGNED_HEADERS_MAX];
    _cleanup_(buf_clear) struct buf request = BUF_INIT(S3_CANONICAL_MAX);
    _cleanup_(buf_clear) struct buf names = BUF_INIT(S3_CANONICAL_MAX);
    char date[S3_DATE_MAX], scope[200], sha256[SHA256_HEX + 1], signature[HMAC_BYTES * 2 + 1];
    if (signing->header_count > ARRAY_SIZE(headers))
        return error_set(err, ERR_LIMIT, "a request has more than %d headers",
                         S3_SIGNED_HEADERS_MAX);
    memcpy(headers, signing->headers, signing->header_count * sizeof(headers[0]));
    qsort(headers, signing->header_count, sizeof(headers[0]), compare_headers);
    s3_date(signing->time_us, date);
    int length = snprintf(scope, sizeof(scope), "%.*s/%s/%s/aws4_request", DAY_LENGTH, date,
                          signing->region, signing->service);
    if (length < 0 || (size_t)length >= sizeof(scope))
        return error_set(err, ERR_LIMIT, "the region \"%.100s\" is too long", signing->region);
    add_canonical_request(signing, headers, &request);
    add_signed_names(headers, signing->header_count, &names);
    int rc = buf_failed(&request, "a request", err);
    if (!rc)
        rc = buf_failed(&names, "the headers of a request", err);
    if (!rc)
        rc = sha256_of(request.data, request.length, sha256, err);
    if (!rc)
        rc = sign_request(signing, scope, date, sha256, signature, err);
    if (rc)
        return rc;
    length = snprintf(authorization, S3_AUTHORIZATION_MAX,
                      "%s Credential=%s/%s,SignedHeaders=%s,Signature=%s", ALGORITHM,
                      signing->access_key_id, scope, buf_text(&names), signature);
    if (length < 0 || length >= S3_AUTHORIZATION_MAX)
        return error_set(err, ERR_LIMIT, "the signature of a request is longer than %d bytes",
                         S3_AUTHORIZATION_MAX);
    return 0;
}
