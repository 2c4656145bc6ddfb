/* Cutting a tar stream into volumes: pieces of every size, ends where files end, what is refused.
 */
#include "pack/cut.h"
#include "remove_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { STREAM_MAX = 4 << 20, VOLUMES_MAX = 64 };

static struct error test_err;
static char root[] = "/tmp/pgcairn-cut-XXXXXX";
static struct store *store;

static void check_ok(int rc, int line)
{
    if (rc)
        fail_msg("line %d: %s", line, test_err.message);
}
#define assert_ok(call) check_ok(call, __LINE__)

struct stream {
    char bytes[STREAM_MAX];
    size_t length;
};

static struct stream stream;

/* A header as PostgreSQL writes it. */
static void put_header(const char *name, char type, int64_t size, unsigned mode, const char *target)
{
    char *block = stream.bytes + stream.length;
    unsigned sum = 0;
    memset(block, 0, TAR_BLOCK);
    snprintf(block, 100, "%s", name);
    snprintf(block + 100, 8, "%07o", mode);
    snprintf(block + 108, 8, "%07o", 1000U);
    snprintf(block + 116, 8, "%07o", 1001U);
    snprintf(block + 124, 12, "%011llo", (unsigned long long)size);
    snprintf(block + 136, 12, "%011o", 1700000000U);
    block[156] = type;
    snprintf(block + 157, 100, "%s", target);
    memcpy(block + 257, "ustar\00000", 8);
    memset(block + 148, ' ', 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
    stream.length += TAR_BLOCK;
}

static char content_of(const char *name, size_t at)
{
    return (char)(strlen(name) * 31 + at * 7 + at / 512);
}

static void put_file(const char *name, size_t size)
{
    put_header(name, '0', (int64_t)size, 0600, "");
    for (size_t i = 0; i < size; i++)
        stream.bytes[stream.length++] = content_of(name, i);
    while (stream.length % TAR_BLOCK)
        stream.bytes[stream.length++] = 0;
}

struct stored {
    char names[VOLUMES_MAX][64];
    struct store_object objects[VOLUMES_MAX];
    int64_t plain[VOLUMES_MAX];
    size_t count;
};

static int note_stored(const char *name, const struct store_object *object, int64_t plain_bytes,
                       void *context, struct error *err)
{
    struct stored *stored = context;
    (void)err;
    snprintf(stored->names[stored->count], 64, "%s", name);
    stored->objects[stored->count] = *object;
    stored->plain[stored->count++] = plain_bytes;
    return 0;
}

static int cut(size_t piece, int64_t limit, struct stored *stored)
{
    _cleanup_(cutter_freep) struct cutter *cutter = NULL;
    struct volume_options options = {.level = 1};
    *stored = (struct stored){.count = 0};
    int rc = cutter_new(store, "c/snapshots/x", "base", &options, limit, note_stored, stored,
                        &cutter, &test_err);
    for (size_t at = 0; at < stream.length && !rc; at += piece)
        rc = cutter_add(cutter, stream.bytes + at,
                        stream.length - at < piece ? stream.length - at : piece, &test_err);
    return rc ? rc : cutter_end(cutter, &test_err);
}

static void assert_content(struct volume_reader *reader, const struct tar_member *member)
{
    char name[TAR_NAME_MAX + 1];
    size_t at = 0, length;
    const void *data;
    snprintf(name, sizeof(name), "%s", member->name);
    int64_t size = member->size;
    for (;;) {
        assert_ok(volume_read(reader, &data, &length, &test_err));
        if (length == 0)
            break;
        for (size_t i = 0; i < length; i++, at++)
            if (((const char *)data)[i] != content_of(name, at))
                fail_msg("%s differs at %zu", name, at);
    }
    assert_int_equal(at, size);
}

/* The members of all volumes in order, as text; their content is compared on the way. */
static void list_members(const struct stored *stored, char *text, size_t size)
{
    *text = '\0';
    for (size_t i = 0; i < stored->count; i++) {
        _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
        struct tar_member member;
        bool found = true;
        assert_ok(volume_read_open(store, stored->objects[i].key, VOLUME_TAR, &stored->objects[i],
                                   &reader, &test_err));
        while (assert_ok(volume_next_member(reader, &member, &found, &test_err)), found) {
            size_t used = strlen(text);
            snprintf(text + used, size - used, "%d:%s:%o:%s ", (int)member.type, member.name,
                     member.mode, member.target);
            assert_int_equal(member.uid, 1000);
            assert_int_equal(member.gid, 1001);
            assert_int_equal(member.time_us / 1000000, 1700000000);
            if (member.type == MEMBER_FILE)
                assert_content(reader, &member);
        }
        assert_ok(volume_read_finish(reader, &test_err));
    }
}

static void fill_stream(void)
{
    stream.length = 0;
    put_file("backup_label", 227);
    put_header("base/", '5', 0, 0700, "");
    put_header("./base/16384", '5', 0, 0750, "");
    put_file("base/16384/1259", 100000);
    put_file("base/16384/1260", 0);
    put_file("base/16384/2619", 300000);
    put_file("base/16384/2620", 512);
    put_header("pg_tblspc/16999", '2', 0, 0777, "/srv/fast disk");
    put_file("global/pg_control", 8192);
}

static const char MEMBERS[] =
    "0:backup_label:600: 1:base:700: 1:base/16384:750: 0:base/16384/1259:600: "
    "0:base/16384/1260:600: 0:base/16384/2619:600: 0:base/16384/2620:600: "
    "2:pg_tblspc/16999:777:/srv/fast disk 0:global/pg_control:600: ";

static void test_pieces(void **state)
{
    static const size_t pieces[] = {1, 511, 512, 513, 8192, 65536, STREAM_MAX};
    static struct stored stored;
    char text[4096];
    (void)state;
    fill_stream();
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        assert_ok(cut(pieces[i], 1 << 30, &stored));
        assert_int_equal(stored.count, 1);
        assert_string_equal(stored.names[0], "base-0001.tar.zst");
        list_members(&stored, text, sizeof(text));
        assert_string_equal(text, MEMBERS);
    }
}

static void test_ends(void **state)
{
    static const struct {
        int64_t limit;
        size_t volumes;
        bool marked; /* with blocks of zeros at the end */
    } rows[] = {
        {1, 5, false},      {100000, 3, true},  {100227, 3, false},
        {100228, 2, false}, {1 << 20, 1, true},
    };
    static struct stored stored;
    char text[4096];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        fill_stream();
        if (rows[i].marked) {
            memset(stream.bytes + stream.length, 0, (size_t)2 * TAR_BLOCK);
            stream.length += (size_t)2 * TAR_BLOCK;
        }
        assert_ok(cut(1000, rows[i].limit, &stored));
        if (stored.count != rows[i].volumes)
            fail_msg("row %zu: %zu volumes", i, stored.count);
        list_members(&stored, text, sizeof(text));
        assert_string_equal(text, MEMBERS);
    }
}

static void test_empty(void **state)
{
    static struct stored stored;
    char text[64];
    (void)state;
    stream.length = 0;
    assert_ok(cut(1, 1000, &stored));
    assert_int_equal(stored.count, 1);
    list_members(&stored, text, sizeof(text));
    assert_string_equal(text, "");
}

static void test_refused(void **state)
{
    static struct stored stored;
    (void)state;
    fill_stream();
    stream.length -= 1;
    assert_int_equal(cut(4096, 1000, &stored), ERR_CORRUPT);
    assert_non_null(strstr(test_err.message, "ends in the middle of a member"));

    fill_stream();
    stream.bytes[3] ^= 1;
    assert_int_equal(cut(4096, 1000, &stored), ERR_CORRUPT);
    assert_non_null(strstr(test_err.message, "checksum"));

    stream.length = 0;
    put_header("a/device", '3', 0, 0600, "");
    assert_int_equal(cut(4096, 1000, &stored), ERR_CORRUPT);
    assert_non_null(strstr(test_err.message, "type 51"));
}

/* What was not ended was not stored. */
static void test_not_ended(void **state)
{
    static struct stored stored;
    struct cutter *cutter = NULL;
    struct volume_options options = {.level = 1};
    struct store_object object;
    (void)state;
    fill_stream();
    stored.count = 0;
    assert_ok(cutter_new(store, "c/snapshots/y", "base", &options, 1 << 30, note_stored, &stored,
                         &cutter, &test_err));
    assert_ok(cutter_add(cutter, stream.bytes, stream.length, &test_err));
    cutter_free(cutter);
    assert_int_equal(stored.count, 0);
    assert_int_equal(store_stat(store, "c/snapshots/y/base-0001.tar.zst", &object, &test_err),
                     ERR_NOT_FOUND);
}

static int set_up(void **state)
{
    char url[256];
    (void)state;
    if (!mkdtemp(root))
        return -1;
    snprintf(url, sizeof(url), "file://%s/r", root);
    return store_open(url, NULL, &store, &test_err);
}

static int tear_down(void **state)
{
    (void)state;
    store_free(store);
    return remove_tree(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),    cmocka_unit_test(test_ends),
        cmocka_unit_test(test_empty),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_ended),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
