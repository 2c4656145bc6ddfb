#include "pack/tar.h"

#include <string.h>

#include "base/instant.h"

/* Fields of a header: POSIX.1-1988, "ustar Interchange Format". */
enum {
    NAME = 0,
    NAME_SIZE = 100,
    MODE = 100,
    UID = 108,
    GID = 116,
    SIZE = 124,
    MTIME = 136,
    CHECKSUM = 148,
    TYPE = 156,
    LINK = 157,
    LINK_SIZE = 100,
    MAGIC = 257,
    PREFIX = 345,
    PREFIX_SIZE = 155,
};

static int damaged(const char *what, struct error *err)
{
    return error_set(err, ERR_CORRUPT, "the tar stream is damaged: %s", what);
}

/* Octal digits between blanks or NULs, or base 256 when the first bit is set. False for negative
 * numbers and those above 2^62. */
static bool take_number(const char *field, size_t size, int64_t *ret_number)
{
    const unsigned char *bytes = (const unsigned char *)field;
    int64_t number = 0;
    size_t i = 0;
    if (bytes[0] & 0x80) {
        if (bytes[0] != 0x80)
            return false;
        for (i = 1; i < size; i++) {
            if (number >> 54)
                return false;
            number = number << 8 | bytes[i];
        }
        *ret_number = number;
        return true;
    }
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        number = number << 3 | (field[i] - '0');
    if (i < size && field[i] != ' ' && field[i] != '\0')
        return false;
    *ret_number = number;
    return true;
}

/* The sum of the header's bytes with its own field taken as blanks. */
static bool checksum_fits(const char *header)
{
    int64_t told = 0, sum = 0;
    for (int i = 0; i < TAR_BLOCK; i++) {
        bool own = i >= CHECKSUM && i < CHECKSUM + 8;
        sum += own ? ' ' : (unsigned char)header[i];
    }
    return take_number(header + CHECKSUM, 8, &told) && told == sum;
}

static bool is_zeros(const char *block)
{
    for (int i = 0; i < TAR_BLOCK; i++)
        if (block[i])
            return false;
    return true;
}

/* prefix/name, without "./" before it and the '/' that ends a folder's. */
static void take_name(const char *header, char name[TAR_NAME_MAX + 1])
{
    int prefix = (int)strnlen(header + PREFIX, PREFIX_SIZE);
    int length = (int)strnlen(header + NAME, NAME_SIZE);
    if (prefix == 0 && length > 2 && header[NAME] == '.' && header[NAME + 1] == '/') {
        header += 2;
        length -= 2;
    }
    while (length > 1 && header[NAME + length - 1] == '/')
        length--;
    snprintf(name, TAR_NAME_MAX + 1, "%.*s%s%.*s", prefix, header + PREFIX, prefix ? "/" : "",
             length, header + NAME);
}

static int take_type(char type, enum member_type *ret_type, struct error *err)
{
    char text[64];
    switch (type) {
    case '0':
    case '\0':
        *ret_type = MEMBER_FILE;
        return 0;
    case '5':
        *ret_type = MEMBER_FOLDER;
        return 0;
    case '2':
        *ret_type = MEMBER_LINK;
        return 0;
    default:
        snprintf(text, sizeof(text), "a member of type %d", type);
        return damaged(text, err);
    }
}

static int take_header(struct tar_parser *parser, const struct tar_handler *handler, void *context,
                       struct error *err)
{
    const char *header = parser->header;
    char name[TAR_NAME_MAX + 1], target[TAR_TARGET_MAX + 1];
    struct tar_member member = {.name = name, .target = target};
    int64_t mode = 0, seconds = 0;
    parser->header_length = 0;
    if (is_zeros(header))
        return 0;
    if (memcmp(header + MAGIC, "ustar", 5) != 0 || !checksum_fits(header))
        return damaged("a header with a wrong checksum", err);
    if (!take_number(header + MODE, 8, &mode) || !take_number(header + SIZE, 12, &member.size) ||
        !take_number(header + UID, 8, &member.uid) || !take_number(header + GID, 8, &member.gid) ||
        !take_number(header + MTIME, 12, &seconds))
        return damaged("a header with a number that is none", err);
    int rc = take_type(header[TYPE], &member.type, err);
    if (rc)
        return rc;
    take_name(header, name);
    snprintf(target, sizeof(target), "%.*s", (int)strnlen(header + LINK, LINK_SIZE), header + LINK);
    member.mode = (unsigned)mode & 07777;
    member.time_us = seconds * US_PER_SECOND;
    if (member.type != MEMBER_FILE)
        member.size = 0;
    parser->data_left = member.size;
    parser->padding_left = (TAR_BLOCK - member.size % TAR_BLOCK) % TAR_BLOCK;
    return handler->begin(&member, context, err);
}

/* At most `length` of the bytes that are left of something. */
static size_t piece(int64_t left, size_t length)
{
    return left < (int64_t)length ? (size_t)left : length;
}

int tar_parse(struct tar_parser *parser, const void *data, size_t length,
              const struct tar_handler *handler, void *context, struct error *err)
{
    const char *from = data;
    int rc = 0;
    while (length > 0 && !rc) {
        size_t n;
        if (parser->data_left > 0) {
            n = piece(parser->data_left, length);
            parser->data_left -= (int64_t)n;
            rc = handler->data(from, n, context, err);
        } else if (parser->padding_left > 0) {
            n = piece(parser->padding_left, length);
            parser->padding_left -= (int64_t)n;
        } else {
            n = piece((int64_t)(TAR_BLOCK - parser->header_length), length);
            memcpy(parser->header + parser->header_length, from, n);
            parser->header_length += n;
            if (parser->header_length == TAR_BLOCK)
                rc = take_header(parser, handler, context, err);
        }
        from += n;
        length -= n;
    }
    return rc;
}

int tar_parse_end(const struct tar_parser *parser, struct error *err)
{
    if (parser->data_left > 0 || parser->padding_left > 0 || parser->header_length > 0)
        return damaged("it ends in the middle of a member", err);
    return 0;
}
