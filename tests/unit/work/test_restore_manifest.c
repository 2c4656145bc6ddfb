/* The server's backup_manifest: read in pieces of every size, proved by its last line. */
#include "work/restore_manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct error test_err;

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define FILE_LINE(name, size, hash)                                                          \
    "{ \"Path\": \"" name "\", \"Size\": " size                                              \
    ", \"Last-Modified\": \"2026-11-28 17:00:00 GMT\", \"Checksum-Algorithm\": \"SHA256\", " \
    "\"Checksum\": \"" hash "\" }"

static const char BODY[] =
    "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n"
    "\"Files\": [\n" FILE_LINE(
        "base/5/1259", "8192",
        HASH_A) ",\n"
                "{ \"Encoded-Path\": \"6261fe\", \"Size\": 3, \"Last-Modified\": \"x\", "
                "\"Checksum-Algorithm\": \"SHA256\", \"Checksum\": \"" HASH_B "\" },\n" FILE_LINE(
                    "PG_VERSION", "3",
                    HASH_B) "\n"
                            "],\n"
                            "\"WAL-Ranges\": [\n"
                            "{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }\n"
                            "],\n";

/* The body with the line that proves it. */
static void complete(const char *body, char *text, size_t size)
{
    char hex[SHA256_HEX + 1];
    assert_int_equal(sha256_of(body, strlen(body), hex, &test_err), 0);
    snprintf(text, size, "%s\"Manifest-Checksum\": \"%s\"}\n", body, hex);
}

static int read_list(const char *text, size_t piece, struct file_list *list)
{
    int rc = 0;
    size_t length = strlen(text);
    for (size_t at = 0; at < length && !rc; at += piece)
        rc = file_list_add(list, text + at, length - at < piece ? length - at : piece, &test_err);
    return rc ? rc : file_list_end(list, &test_err);
}

static void test_pieces(void **state)
{
    static const size_t pieces[] = {1, 7, 100, 65536};
    char text[4096];
    (void)state;
    complete(BODY, text, sizeof(text));
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        _cleanup_(file_list_clear) struct file_list list = FILE_LIST_INIT;
        assert_int_equal(read_list(text, pieces[i], &list), 0);
        assert_int_equal(list.count, 3);
        const struct listed_file *file = file_list_find(&list, "base/5/1259");
        assert_non_null(file);
        assert_int_equal(file->size, 8192);
        assert_int_equal(file->checksum_bytes, LISTED_SHA256);
        assert_int_equal(file->checksum[0], 0xaa);
        assert_non_null(file_list_find(&list, "ba\xfe"));
        assert_non_null(file_list_find(&list, "PG_VERSION"));
        assert_null(file_list_find(&list, "base/5/125"));
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *from, *to; /* replaced in the whole text */
        bool is_proved;        /* the checksum is made after that */
        const char *words;
    } rows[] = {
        {"8192", "8193", false, "checksum does not fit"},
        {"\"Manifest-Checksum\"", "\"Manifest-Checks\"", false, "without a checksum"},
        {"SHA256", "CRC32C", true, "neither CRC-32C nor SHA-256"},
        {HASH_A, "abc", true, "neither CRC-32C nor SHA-256"},
        {"\"Path\": \"PG_VERSION\"", "\"Path\": \"base/5/1259\"", true, "twice"},
        {"6261fe", "6261f", true, "without a name"},
        {"\"Size\": 3,", "\"Siz\": 3,", true, "Size"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_(file_list_clear) struct file_list list = FILE_LIST_INIT;
        char text[4096], changed[4096];
        if (rows[i].is_proved)
            snprintf(text, sizeof(text), "%s", BODY);
        else
            complete(BODY, text, sizeof(text));
        const char *place = strstr(text, rows[i].from);
        assert_non_null(place);
        snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(place - text), text, rows[i].to,
                 place + strlen(rows[i].from));
        if (rows[i].is_proved)
            complete(changed, text, sizeof(text));
        int rc = read_list(rows[i].is_proved ? text : changed, 64, &list);
        if (rc != ERR_CORRUPT || !strstr(test_err.message, rows[i].words))
            fail_msg("row %zu: %d, %s", i, rc, test_err.message);
    }
}

static void test_sums(void **state)
{
    /* "123456789" in both kinds; a CRC's bytes are the processor's. */
    static const struct listed_file
        crc = {.size = 9, .checksum = {0x83, 0x92, 0x06, 0xe3}, .checksum_bytes = LISTED_CRC32C},
        sha = {.size = 9,
               .checksum = {0x15, 0xe2, 0xb0, 0xd3, 0xc3, 0x38, 0x91, 0xeb, 0xb0, 0xf1, 0xef,
                            0x60, 0x9e, 0xc4, 0x19, 0x42, 0x0c, 0x20, 0xe3, 0x20, 0xce, 0x94,
                            0xc6, 0x5f, 0xbc, 0x8c, 0x33, 0x12, 0x44, 0x8e, 0xb2, 0x25},
               .checksum_bytes = LISTED_SHA256},
        longer = {
            .size = 10, .checksum = {0x83, 0x92, 0x06, 0xe3}, .checksum_bytes = LISTED_CRC32C};
    static const struct {
        const struct listed_file *file;
        const char *content;
        bool fits;
    } rows[] = {
        {&crc, "123456789", true},  {&crc, "123456788", false},    {&crc, "12345678", false},
        {&sha, "123456789", true},  {&sha, "123456788", false},    {&sha, "1234567890", false},
        {NULL, "123456789", false}, {&longer, "123456789", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_(listed_sum_clear) struct listed_sum sum = {0};
        const char *content = rows[i].content;
        bool fits = !rows[i].fits;
        assert_int_equal(listed_sum_init(&sum, rows[i].file, &test_err), 0);
        assert_int_equal(listed_sum_add(&sum, content, 4, &test_err), 0);
        assert_int_equal(listed_sum_add(&sum, content + 4, strlen(content) - 4, &test_err), 0);
        assert_int_equal(listed_sum_end(&sum, &fits, &test_err), 0);
        if (fits != rows[i].fits)
            fail_msg("row %zu: \"%s\" %s", i, content, fits ? "fits" : "does not fit");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
