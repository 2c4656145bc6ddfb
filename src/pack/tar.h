/*
 * Reading tar as a stream that comes in pieces of any size, header by header (POSIX.1-1988 ustar,
 * with sizes in base 256 as GNU tar and PostgreSQL write them: src/port/tar.c). What PostgreSQL
 * sends is files, folders and symbolic links; anything else is refused, for it would be lost.
 *
 *     struct tar_parser parser = {0};
 *     tar_parse(&parser, data, length, &handler, context, err);     as often as needed
 *     tar_parse_end(&parser, err);       ERR_CORRUPT when the stream ended in mid-member
 *
 * The handler gets begin, then data until `size` bytes came, for every member. Blocks of zeros are
 * the end marks and are skipped. Memory: one header. Pure.
 */
#ifndef PGCAIRN_PACK_TAR_H
#define PGCAIRN_PACK_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { TAR_BLOCK = 512, TAR_NAME_MAX = 256, TAR_TARGET_MAX = 100 };

enum member_type { MEMBER_FILE, MEMBER_FOLDER, MEMBER_LINK };

/* A member of an archive, read or to be written. */
struct tar_member {
    enum member_type type;
    const char *name;   /* without a '/' at the end */
    const char *target; /* of a symbolic link; else "" */
    int64_t size;       /* of a file; else 0 */
    unsigned mode;      /* permissions only */
    int64_t uid, gid;
    int64_t time_us; /* last change */
};

struct tar_handler {
    int (*begin)(const struct tar_member *member, void *context, struct error *err);
    int (*data)(const void *data, size_t length, void *context, struct error *err);
};

struct tar_parser {
    char header[TAR_BLOCK];
    size_t header_length;
    int64_t data_left;    /* of the member */
    int64_t padding_left; /* behind it, to a whole block */
};

int tar_parse(struct tar_parser *parser, const void *data, size_t length,
              const struct tar_handler *handler, void *context, struct error *err);
int tar_parse_end(const struct tar_parser *parser, struct error *err);

#endif
