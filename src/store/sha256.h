/*
 * SHA-256 as hex text, over OpenSSL's EVP (which uses the processor's SHA instructions).
 *
 *     sha256_new(&hash, err);
 *     sha256_add(hash, data, length, err);      as often as needed
 *     sha256_end(hash, text, err);              64 hex digits and a NUL; then only free it
 *     sha256_free(hash);
 */
#ifndef PGCAIRN_STORE_SHA256_H
#define PGCAIRN_STORE_SHA256_H

#include <stddef.h>

#include "base/error.h"

enum { SHA256_HEX = 64 };

struct sha256;

int sha256_new(struct sha256 **ret_hash, struct error *err);
int sha256_add(struct sha256 *hash, const void *data, size_t length, struct error *err);
int sha256_end(struct sha256 *hash, char text[SHA256_HEX + 1], struct error *err);
struct sha256 *sha256_free(struct sha256 *hash);

/* Of bytes in memory, at once. */
int sha256_of(const void *data, size_t length, char text[SHA256_HEX + 1], struct error *err);

DEFINE_FREEP(struct sha256 *, sha256_free)

#endif
