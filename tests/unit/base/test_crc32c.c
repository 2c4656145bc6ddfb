/* CRC-32C: the vectors of RFC 3720, appendix B.4, in one piece and in two, by both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/crc32c.h"
#include "base/cleanup.h"

static unsigned char zeros[32], ones[32], rising[32], falling[32];

static const struct row {
    const char *name;
    const void *data;
    size_t length;
    uint32_t crc;
} ROWS[] = {
    {"nothing", "", 0, 0},
    {"digits", "123456789", 9, 0xe3069283},
    {"zeros", zeros, 32, 0x8a9136aa},
    {"ones", ones, 32, 0x62a8ab43},
    {"rising", rising, 32, 0x46dd794e},
    {"falling", falling, 32, 0x113fdb5c},
};

typedef uint32_t (*add_function)(uint32_t crc, const void *data, size_t length);

static void check(const struct row *row, add_function add, const char *way)
{
    for (size_t cut = 0; cut <= row->length; cut++) {
        uint32_t crc = add(0, row->data, cut);
        crc = add(crc, (const char *)row->data + cut, row->length - cut);
        if (crc != row->crc)
            fail_msg("%s by %s, cut at %zu: %08x", row->name, way, cut, crc);
    }
}

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(zeros); i++) {
        ones[i] = 0xff;
        rising[i] = (unsigned char)i;
        falling[i] = (unsigned char)(31 - i);
    }
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        check(&ROWS[i], crc32c_add, "the processor");
        check(&ROWS[i], crc32c_add_by_tables, "tables");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
