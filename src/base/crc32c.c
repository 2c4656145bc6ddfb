#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL UINT32_C(0x82f63b78) /* bits reversed */

enum { BYTES = 256, SLICES = 8 };

/* tables[n][b]: what byte b does to the CRC when n more bytes follow it at once. */
static uint32_t tables[SLICES][BYTES];

static void fill_tables(void)
{
    for (uint32_t b = 0; b < BYTES; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        tables[0][b] = crc;
    }
    for (int n = 1; n < SLICES; n++)
        for (uint32_t b = 0; b < BYTES; b++)
            tables[n][b] = tables[n - 1][b] >> 8 ^ tables[0][tables[n - 1][b] & 0xff];
}

uint32_t crc32c_add_by_tables(uint32_t crc, const void *data, size_t length)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const unsigned char *p = data;
    pthread_once(&once, fill_tables);
    crc = ~crc;
    for (; length >= SLICES; length -= SLICES, p += SLICES) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                              (uint32_t)p[3] << 24);
        crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
              tables[4][low >> 24] ^ tables[3][p[4]] ^ tables[2][p[5]] ^ tables[1][p[6]] ^
              tables[0][p[7]];
    }
    for (; length > 0; length--, p++)
        crc = crc >> 8 ^ tables[0][(crc ^ *p) & 0xff];
    return ~crc;
}

#ifdef __x86_64__

__attribute__((target("sse4.2"))) static uint32_t add_by_instruction(uint32_t crc, const void *data,
                                                                     size_t length)
{
    const unsigned char *p = data;
    uint64_t state = ~crc, word;
    for (; length >= sizeof(word); length -= sizeof(word), p += sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        state = __builtin_ia32_crc32di(state, word);
    }
    uint32_t rest = (uint32_t)state;
    for (; length > 0; length--, p++)
        rest = __builtin_ia32_crc32qi(rest, *p);
    return ~rest;
}

uint32_t crc32c_add(uint32_t crc, const void *data, size_t length)
{
    return __builtin_cpu_supports("sse4.2") ? add_by_instruction(crc, data, length)
                                            : crc32c_add_by_tables(crc, data, length);
}

#else

uint32_t crc32c_add(uint32_t crc, const void *data, size_t length)
{
    return crc32c_add_by_tables(crc, data, length);
}

#endif
