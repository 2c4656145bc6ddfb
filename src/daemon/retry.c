#include "daemon/retry.h"

int64_t retry_delay_us(int attempt, const char *run_id)
{
    int64_t longest_us = RETRY_FIRST_US;
    for (int i = 1; i < attempt && longest_us < RETRY_LONGEST_US; i++)
        longest_us *= 2;
    if (longest_us > RETRY_LONGEST_US)
        longest_us = RETRY_LONGEST_US;
    uint64_t seed = 5381;
    for (; *run_id; run_id++)
        seed = seed * 33 + (unsigned char)*run_id;
    return longest_us / 2 + (int64_t)(seed % (uint64_t)(longest_us / 2));
}
