/*
 * Ids of backups and holds: "20261121T020000Z-x7q2", the UTC start to the second and four random
 * characters of [a-z0-9]. They name; they do not order (see format.md).
 */
#ifndef PGCAIRN_REPOSITORY_IDS_H
#define PGCAIRN_REPOSITORY_IDS_H

#include <stdint.h>

#include "base/error.h"

enum {
    ID_LENGTH = 21,
    ID_SIZE = ID_LENGTH + 1,
    ID_TIME_LENGTH = 16,
    ID_TIME_SIZE = ID_TIME_LENGTH + 1,
};

int id_make(int64_t started_us, char id[ID_SIZE], struct error *err);

/* Whether text is an id; the instant in it when ret_started_us is not NULL. */
bool id_parse(const char *text, int64_t *ret_started_us);

/* "20261121T020000Z", and back from what begins with such a time. */
int id_format_time(int64_t time_us, char text[ID_TIME_SIZE], struct error *err);
bool id_parse_time(const char *text, int64_t *ret_time_us);

#endif
