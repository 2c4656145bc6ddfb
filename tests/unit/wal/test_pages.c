/* The pages of a segment: what a server writes passes, and what it does not is named by its byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "wal/pages.h"

enum { SIZE = 1 << 20, PAGE = 8192, PAGES = SIZE / PAGE };

static const char SYSTEM[] = "7580000000000000001";
static const struct wal_name NAME = {WAL_SEGMENT, 2, 0, 3, 0};
static unsigned char segment[SIZE];

static void put(size_t at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        segment[at + (size_t)i] = (unsigned char)(value >> (8 * i));
}

static void put_page(size_t number, uint32_t timeline, uint64_t address)
{
    size_t at = number * PAGE;
    put(at, 0xD110, 2);
    put(at + 2, number == 0 ? 2 : 0, 2);
    put(at + 4, timeline, 4);
    put(at + 8, address, 8);
}

/* Segment 3 of timeline 2, in which the timeline began at page 40. */
static void make(void)
{
    for (size_t i = 0; i < SIZE; i++)
        segment[i] = (unsigned char)(i * 37 + i / 999 + 1);
    for (size_t i = 0; i < PAGES; i++)
        put_page(i, i < 40 ? 1 : 2, 3 * (uint64_t)SIZE + i * PAGE);
    put(24, UINT64_C(7580000000000000001), 8);
    put(32, SIZE, 4);
    put(36, PAGE, 4);
}

static int check(const struct wal_name *name, const char *system, size_t length, size_t piece,
                 struct error *err)
{
    struct wal_pages pages;
    int rc = 0;
    wal_pages_init(&pages, name, system, SIZE);
    for (size_t at = 0; at < length && !rc; at += piece)
        rc = wal_pages_add(&pages, segment + at, length - at < piece ? length - at : piece, err);
    return rc ? rc : wal_pages_end(&pages, err);
}

static void expect(const char *what, const struct wal_name *name, size_t length,
                   const char *message)
{
    static const size_t PIECES[] = {SIZE, 128 << 10, 100003, PAGE, 39, 7};
    for (size_t i = 0; i < ARRAY_SIZE(PIECES); i++) {
        struct error error = ERROR_NONE;
        int rc = check(name, SYSTEM, length, PIECES[i], &error);
        if (rc != (message ? ERR_CORRUPT : 0) || (rc && !strstr(error.message, message)))
            fail_msg("%s in pieces of %zu: %d \"%s\"", what, PIECES[i], rc, error.message);
    }
}

static void test_what_a_server_writes(void **state)
{
    (void)state;
    make();
    expect("whole", &NAME, SIZE, NULL);
    memset(segment + 100 * PAGE, 0, SIZE - 100 * PAGE);
    expect("a switch", &NAME, SIZE, NULL);
    struct wal_name partial = NAME;
    partial.kind = WAL_PARTIAL;
    make();
    put_page(77, 1, SIZE);
    expect("an old file used again", &partial, SIZE, NULL);
}

static void test_what_it_does_not(void **state)
{
    (void)state;
    struct wal_name other = NAME;
    struct error error = ERROR_NONE;
    make();
    expect("short", &NAME, SIZE - PAGE, "it has 1040384 bytes, a segment has 1048576");
    expect("nothing", &NAME, 0, "it has 0 bytes");
    assert_int_equal(check(&NAME, "1", SIZE, SIZE, &error), ERR_CORRUPT);
    assert_non_null(strstr(error.message, "system identifier 7580000000000000001, not 1"));
    other.segment = 4;
    expect("another name", &other, SIZE, "not of 000000020000000000000004");
    other = NAME;
    other.timeline = 1;
    expect("a later timeline", &other, SIZE, "byte 327680");
    put_page(50, 2, 3 * (uint64_t)SIZE + 51 * PAGE);
    expect("a moved page", &NAME, SIZE, "byte 409600 (position 0/364000) has a page of another po");
    make();
    put_page(60, 1, 3 * (uint64_t)SIZE + 60 * PAGE);
    expect("back in time", &NAME, SIZE, "byte 491520");
    make();
    put(70 * PAGE, 0x1234, 2);
    expect("no page", &NAME, SIZE, "is no page of this server's WAL");
    make();
    memset(segment + 80 * PAGE, 0, PAGE);
    expect("a hole", &NAME, SIZE, "comes WAL after a page of zeros");
    make();
    put(36, 0, 4);
    expect("no size of a page", &NAME, SIZE, "pages of 0 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_a_server_writes),
                                       cmocka_unit_test(test_what_it_does_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
