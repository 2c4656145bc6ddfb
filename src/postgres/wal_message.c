#include "postgres/wal_message.h"

#include "base/instant.h"

/* 2000-01-01 in microseconds since 1970-01-01: 10957 days. */
#define EPOCH_US (10957 * US_PER_DAY)

/* Where the fields lie. */
enum {
    DATA_LSN = 1,
    DATA_END = 9,
    DATA_TIME = 17,
    DATA_BYTES = 25,
    KEEPALIVE_END = 1,
    KEEPALIVE_TIME = 9,
    KEEPALIVE_REPLY = 17,
    KEEPALIVE_BYTES = 18,
    STATUS_WRITTEN = 1,
    STATUS_FLUSHED = 9,
    STATUS_APPLIED = 17,
    STATUS_TIME = 25,
    STATUS_REPLY = 33,
    NUMBER = 8,
};

static uint64_t take_number(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < NUMBER; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void put_number(unsigned char *bytes, uint64_t value)
{
    for (int i = NUMBER - 1; i >= 0; i--, value >>= 8)
        bytes[i] = (unsigned char)value;
}

static int refuse(const char *what, size_t length, struct error *err)
{
    error_set(err, ERR_FAILED, "the server sent %s of %zu bytes while it streams WAL", what,
              length);
    return error_hint(err, "is there a proxy between that alters the stream? please report it with "
                           "the server's version");
}

int wal_message_read(const void *data, size_t length, struct wal_message *ret_message,
                     struct error *err)
{
    const unsigned char *bytes = data;
    struct wal_message message = {.kind = WAL_MESSAGE_DATA};
    if (length > 0 && bytes[0] == 'w') {
        if (length < DATA_BYTES)
            return refuse("a short message", length, err);
        message.lsn = take_number(bytes + DATA_LSN);
        message.end_lsn = take_number(bytes + DATA_END);
        message.sent_us = (int64_t)take_number(bytes + DATA_TIME) + EPOCH_US;
        message.data = bytes + DATA_BYTES;
        message.length = length - DATA_BYTES;
    } else if (length > 0 && bytes[0] == 'k') {
        if (length < KEEPALIVE_BYTES)
            return refuse("a short keepalive", length, err);
        message.kind = WAL_MESSAGE_KEEPALIVE;
        message.end_lsn = take_number(bytes + KEEPALIVE_END);
        message.sent_us = (int64_t)take_number(bytes + KEEPALIVE_TIME) + EPOCH_US;
        message.wants_reply = bytes[KEEPALIVE_REPLY] != 0;
    } else
        return refuse("an unknown message", length, err);
    *ret_message = message;
    return 0;
}

void wal_message_status(const struct wal_message_status *status,
                        unsigned char bytes[WAL_MESSAGE_STATUS])
{
    bytes[0] = 'r';
    put_number(bytes + STATUS_WRITTEN, status->written_lsn);
    put_number(bytes + STATUS_FLUSHED, status->flushed_lsn);
    put_number(bytes + STATUS_APPLIED, status->applied_lsn);
    put_number(bytes + STATUS_TIME, (uint64_t)(status->now_us - EPOCH_US));
    bytes[STATUS_REPLY] = status->wants_reply;
}
