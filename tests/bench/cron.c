/*
 * How long one next-fire takes: five expressions as people write them, a million fires each, one
 * after the other from 2026 on, beginning anew whenever 2100 is reached.
 *
 *     ninja bench_cron && ./tests/bench/bench_cron [FIRES]
 *
 * Build with the release preset; the target is 2,000 ns.
 */
#include <stdio.h>

#include "base/units.h"
#include "cron/cron.h"

static const int64_t FROM = 1767225600;  /* 2026-01-01 */
static const int64_t UNTIL = 4102444800; /* 2100-01-01 */

static int measure(const char *text, const char *zone_text, int64_t fires, struct error *err)
{
    _cleanup_(cron_freep) struct cron_expr *expr = NULL;
    _cleanup_(zone_freep) struct zone *zone = NULL;
    int rc = cron_parse(text, NULL, &expr, NULL, err);
    if (!rc)
        rc = zone_load(zone_text, &zone, err);
    if (rc)
        return rc;
    int64_t at = FROM;
    uint64_t sum = 0;
    int64_t start_us = instant_monotonic_us();
    for (int64_t i = 0; i < fires; i++) {
        at = cron_next(expr, zone, at);
        sum += (uint64_t)at;
        if (at >= UNTIL)
            at = FROM;
    }
    double ns = (double)(instant_monotonic_us() - start_us) * 1000.0 / (double)fires;
    printf("%-18s  %-14s %8.1f ns  (sum %016llx)\n", text, zone_text, ns, (unsigned long long)sum);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const EXPRESSIONS[] = {"*/5 * * * *", "30 2 * * *", "0 3 * * sun",
                                              "0 0 1,15 * *", "15 4 * * fri#2"};
    static const char *const ZONES[] = {"UTC", "Europe/Berlin"};
    struct error err = ERROR_NONE;
    int64_t fires = 1000000;
    int rc = 0;
    if (argc > 1)
        rc = number_parse(argv[1], "FIRES", 1, INT64_C(1000000000), &fires, &err);
    for (size_t z = 0; z < ARRAY_SIZE(ZONES) && !rc; z++)
        for (size_t e = 0; e < ARRAY_SIZE(EXPRESSIONS) && !rc; e++)
            rc = measure(EXPRESSIONS[e], ZONES[z], fires, &err);
    if (rc)
        fprintf(stderr, "bench_cron: %s\n", err.message);
    return error_exit_status(rc);
}
