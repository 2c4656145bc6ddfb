/* Texts inside S3's replies. Pure. */
#ifndef PGCAIRN_STORE_S3_TEXT_H
#define PGCAIRN_STORE_S3_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Undoes encoding-type=url: %XX and '+'. False when it does not fit or is badly formed. */
bool s3_decode(const char *text, char *decoded, size_t size);

/* A whole number that is not negative; -1 for anything else. */
int64_t s3_number(const char *text);

#endif
