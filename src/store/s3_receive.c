#include "store/s3_receive.h"

#include <string.h>

enum { HEADER_LINE_MAX = 2048 };

static void copy_text(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);
    if (length >= 2 && from[0] == '"' && from[length - 1] == '"') {
        from++;
        length -= 2;
    }
    if (length >= size)
        length = size - 1;
    memcpy(to, from, length);
    to[length] = '\0';
}

static void take_content_range(struct s3_reply *reply, const char *value)
{
    long long from, to, total;
    if (sscanf(value, "bytes %lld-%lld/%lld", &from, &to, &total) == 3) {
        reply->range_from = from;
        reply->range_total = total;
    } else if (sscanf(value, "bytes */%lld", &total) == 1) {
        reply->range_total = total;
    }
}

static int64_t http_date(const char *value)
{
    time_t seconds = curl_getdate(value, NULL);
    return seconds < 0 ? INSTANT_NONE : (int64_t)seconds * US_PER_SECOND;
}

static void take_retention_date(struct s3_reply *reply, const char *value)
{
    int64_t until_us;
    bool has_offset;
    if (!instant_parse(value, &until_us, &has_offset, NULL))
        reply->locked_until_us = until_us;
}

static void take_header(struct s3_reply *reply, const char *name, const char *value)
{
    if (strcmp(name, "etag") == 0)
        copy_text(reply->etag, sizeof(reply->etag), value);
    else if (strcmp(name, "content-length") == 0)
        sscanf(value, "%ld", &reply->length);
    else if (strcmp(name, "content-range") == 0)
        take_content_range(reply, value);
    else if (strcmp(name, "date") == 0)
        reply->date_us = http_date(value);
    else if (strcmp(name, "last-modified") == 0)
        reply->modified_us = http_date(value);
    else if (strcmp(name, "x-amz-checksum-sha256") == 0)
        copy_text(reply->checksum_sha256, sizeof(reply->checksum_sha256), value);
    else if (strcmp(name, "x-amz-checksum-algorithm") == 0)
        reply->has_checksums = true;
    else if (strcmp(name, "x-amz-meta-pgcairn-write") == 0)
        copy_text(reply->write_id, sizeof(reply->write_id), value);
    else if (strcmp(name, "x-amz-bucket-region") == 0)
        copy_text(reply->region, sizeof(reply->region), value);
    else if (strcmp(name, "x-amz-object-lock-mode") == 0)
        copy_text(reply->lock_mode, sizeof(reply->lock_mode), value);
    else if (strcmp(name, "x-amz-object-lock-retain-until-date") == 0)
        take_retention_date(reply, value);
    else if (strcmp(name, "x-amz-object-lock-legal-hold") == 0)
        reply->legal_hold = strcmp(value, "ON") == 0;
    else if (strcmp(name, "x-amz-delete-marker") == 0)
        reply->is_delete_marker = strcmp(value, "true") == 0;
    else if (strcmp(name, "x-amz-server-side-encryption") == 0)
        reply->has_opaque_etag |= strncmp(value, "aws:kms", 7) == 0;
    else if (strcmp(name, "x-amz-server-side-encryption-customer-algorithm") == 0)
        reply->has_opaque_etag = true;
}

void s3_receive_line(struct s3_reply *reply, const char *data, size_t length)
{
    char line[HEADER_LINE_MAX];
    while (length > 0 && (data[length - 1] == '\r' || data[length - 1] == '\n'))
        length--;
    if (length >= sizeof(line))
        return; /* none of those that are read is so long */
    memcpy(line, data, length);
    line[length] = '\0';
    if (strncmp(line, "HTTP/", 5) ==
        0) { /* what an earlier head said does not count: 100 Continue */
        s3_reply_reset(reply);
        return;
    }
    char *colon = strchr(line, ':');
    if (!colon)
        return;
    *colon = '\0';
    for (char *c = line; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    take_header(reply, line, colon + 1 + strspn(colon + 1, " \t"));
}
