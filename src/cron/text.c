#include "cron/expr.h"

#include "base/buf.h"

/* Whether every value low, low+step ... up to high is among the bits (bit 0 = low). */
static bool has_steps(uint64_t bits, int size, int step)
{
    for (int bit = 0; bit < size; bit += step)
        if (!(bits >> bit & 1))
            return false;
    return true;
}

static uint64_t steps(int size, int step)
{
    uint64_t bits = 0;
    for (int bit = 0; bit < size; bit += step)
        bits |= UINT64_C(1) << bit;
    return bits;
}

static bool bit_of(const uint64_t *words, int bit)
{
    return words[bit / 64] >> (bit % 64) & 1;
}

/* "1,3-5": the set bits, bit 0 = low. `separator` goes before the first one. */
static void add_ranges(struct buf *text, const uint64_t *words, int low, int size,
                       const char *separator)
{
    for (int bit = 0; bit < size; bit++) {
        if (!bit_of(words, bit))
            continue;
        int start = bit;
        while (bit + 1 < size && bit_of(words, bit + 1))
            bit++;
        buf_addf(text, "%s%d", separator, low + start);
        if (bit > start)
            buf_addf(text, "-%d", low + bit);
        separator = ",";
    }
}

static int field_size(enum cron_field_index index)
{
    return cron_field_high(index) - cron_field_low(index) + 1;
}

/* Minute and hour: whether they begin with "*" decides what happens when the clock changes, so a
 * star stays, with the smallest step that fits, and what it leaves out behind it. */
static void add_clock(struct buf *text, uint64_t bits, enum cron_field_index index, bool has_star)
{
    int size = field_size(index);
    if (!has_star) {
        add_ranges(text, &bits, 0, size, "");
        return;
    }
    int step = 1;
    while (!has_steps(bits, size, step))
        step++;
    buf_add_text(text, "*");
    if (step > 1)
        buf_addf(text, "/%d", step);
    bits &= ~steps(size, step);
    add_ranges(text, &bits, 0, size, ",");
}

static void add_days(struct buf *text, const struct cron_expr *expr)
{
    uint64_t bits = expr->days >> 1;
    buf_add_text(text, " ");
    if (expr->any_day)
        buf_add_text(text, "*");
    else
        add_ranges(text, &bits, 1, field_size(CRON_DAY), "");
    if (!expr->any_day && expr->last_day)
        buf_add_text(text, bits ? ",l" : "l");
}

static void add_weekdays(struct buf *text, const struct cron_expr *expr)
{
    uint64_t bits = expr->weekdays;
    const char *separator = " ";
    if (expr->any_weekday) {
        buf_add_text(text, " *");
        return;
    }
    add_ranges(text, &bits, 0, field_size(CRON_WEEKDAY), " ");
    for (int weekday = 0; weekday < 7 && expr->is_nth; weekday++) {
        for (int n = 1; n <= CRON_NTH_LAST_BIT; n++) {
            if (!(expr->nth[weekday] & 1 << n))
                continue;
            if (n == CRON_NTH_LAST_BIT)
                buf_addf(text, "%sL%d", separator, weekday);
            else
                buf_addf(text, "%s%d#%d", separator, weekday, n);
            separator = ",";
        }
    }
}

/* A field in which "*" means no more than all its values. */
static void add_plain(struct buf *text, uint64_t bits, enum cron_field_index index)
{
    int size = field_size(index);
    if (has_steps(bits, size, 1))
        buf_add_text(text, " *");
    else
        add_ranges(text, &bits, cron_field_low(index), size, " ");
}

int cron_to_text(const struct cron_expr *expr, char **ret_text, struct error *err)
{
    struct buf text = BUF_INIT(CRON_TEXT_MAX);
    add_clock(&text, expr->minutes, CRON_MINUTE, expr->minute_star);
    buf_add_text(&text, " ");
    add_clock(&text, expr->hours, CRON_HOUR, expr->hour_star);
    add_days(&text, expr);
    add_plain(&text, expr->months >> 1, CRON_MONTH);
    add_weekdays(&text, expr);
    if (expr->seconds != 1 || expr->is_year_bounded)
        add_plain(&text, expr->seconds, CRON_SECOND);
    if (expr->is_year_bounded)
        add_ranges(&text, expr->years, CRON_YEAR_FIRST, field_size(CRON_YEAR), " ");
    int rc = buf_failed(&text, "the schedule", err);
    if (!rc) {
        *ret_text = buf_steal(&text);
        rc = *ret_text ? 0 : error_no_memory(err);
    }
    buf_clear(&text);
    return rc;
}

bool cron_misses_gaps(const struct cron_expr *expr)
{
    bool is_every_hour = expr->hours == (UINT32_C(1) << 24) - 1;
    return expr->minute_star && !expr->hour_star && !is_every_hour;
}
