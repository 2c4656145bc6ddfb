#include "cron/deny.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Windows end and begin, and clocks change, far less often than this in the week that is searched.
 */
enum { STEPS_MAX = 2000, WEEK_DAYS = 7 };

static const char *const DAYS[WEEK_DAYS] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

/* How many minutes of the window are left at this local time; 0: it is not in it. */
static int minutes_left(const struct deny_window *window, int weekday, int minute)
{
    int yesterday = (weekday + WEEK_DAYS - 1) % WEEK_DAYS;
    bool is_over_midnight = window->to <= window->from;
    int end = is_over_midnight ? DENY_DAY_MINUTES : window->to;
    int left = 0;
    if (window->days >> weekday & 1u && minute >= window->from && minute < end)
        left = end - minute + (is_over_midnight ? window->to : 0);
    if (is_over_midnight && window->days >> yesterday & 1u && minute < window->to &&
        window->to - minute > left)
        left = window->to - minute;
    return left;
}

static void local_time(const struct zone *zone, int64_t seconds, int *ret_weekday, int *ret_minute,
                       int *ret_second)
{
    struct civil civil;
    zone_to_civil(zone, seconds, &civil);
    *ret_weekday = civil_weekday(civil_days(civil.year, civil.month, civil.day));
    *ret_minute = civil.hour * 60 + civil.minute;
    *ret_second = civil.second;
}

const struct deny_window *deny_at(const struct deny *deny, const struct zone *zone, int64_t seconds)
{
    const struct deny_window *found = NULL;
    int weekday, minute, second;
    if (deny->count == 0)
        return NULL;
    local_time(zone, seconds, &weekday, &minute, &second);
    for (size_t i = 0; i < deny->count; i++) {
        const struct deny_window *window = &deny->windows[i];
        if (minutes_left(window, weekday, minute) > 0 && (!found || (window->skips > found->skips)))
            found = window;
    }
    return found;
}

int64_t deny_end(const struct deny *deny, const struct zone *zone, int64_t seconds)
{
    if (deny->count == 0)
        return seconds;
    if (deny_is_always(deny))
        return CRON_NEVER;
    for (int step = 0; step < STEPS_MAX; step++) {
        int weekday, minute, second, longest = 0;
        struct zone_span span;
        local_time(zone, seconds, &weekday, &minute, &second);
        for (size_t i = 0; i < deny->count; i++) {
            int left = minutes_left(&deny->windows[i], weekday, minute);
            longest = left > longest ? left : longest;
        }
        if (longest == 0)
            return seconds;
        zone_span_at(zone, seconds, &span);
        int64_t end = seconds + INT64_C(60) * longest - second;
        seconds = span.end < end ? span.end : end;
    }
    return CRON_NEVER;
}

bool deny_is_always(const struct deny *deny)
{
    for (int weekday = 0; weekday < WEEK_DAYS; weekday++) {
        for (int minute = 0; minute < DENY_DAY_MINUTES; minute++) {
            int longest = 0;
            for (size_t i = 0; i < deny->count && longest == 0; i++)
                longest = minutes_left(&deny->windows[i], weekday, minute);
            if (longest == 0)
                return false;
        }
    }
    return true;
}

/* -- texts ------------------------------------------------------------------------------------ */

/* Ranges of days, the week beginning on Monday. */
static size_t add_days(unsigned days, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < WEEK_DAYS; i++) {
        int first = i;
        if (!(days >> (i + 1) % WEEK_DAYS & 1u))
            continue;
        while (i + 1 < WEEK_DAYS && days >> (i + 2) % WEEK_DAYS & 1u)
            i++;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "," : "",
                                 DAYS[(first + 1) % WEEK_DAYS]);
        if (i > first)
            used += (size_t)snprintf(text + used, size - used, "-%s", DAYS[(i + 1) % WEEK_DAYS]);
    }
    return used;
}

char *deny_text(const struct deny_window *window, char text[DENY_TEXT_MAX])
{
    size_t used = add_days(window->days, text, DENY_TEXT_MAX);
    snprintf(text + used, DENY_TEXT_MAX - used, " %02d:%02d-%02d:%02d", window->from / 60 % 24,
             window->from % 60, window->to / 60 % 25, window->to % 60);
    return text;
}

static int read_day(const char **text)
{
    for (int day = 0; day < WEEK_DAYS; day++) {
        if (strncasecmp(*text, DAYS[day], 3) == 0 && !isalpha((unsigned char)(*text)[3])) {
            *text += 3;
            return day;
        }
    }
    return -1;
}

bool deny_read_days(const char *text, unsigned *ret_days)
{
    unsigned days = 0;
    for (;;) {
        int first = read_day(&text), last = first;
        if (first >= 0 && *text == '-') {
            text++;
            last = read_day(&text);
        }
        if (first < 0 || last < 0)
            return false;
        for (int day = first;; day = (day + 1) % WEEK_DAYS) {
            days |= 1u << day;
            if (day == last)
                break;
        }
        if (!*text)
            break;
        if (*text++ != ',')
            return false;
    }
    *ret_days = days;
    return true;
}

bool deny_read_time(const char *text, int *ret_minutes)
{
    size_t hours = strspn(text, "0123456789");
    if (hours < 1 || hours > 2 || text[hours] != ':' ||
        strspn(text + hours + 1, "0123456789") != 2 || text[hours + 3])
        return false;
    int hour = text[0] - '0', minute = (text[hours + 1] - '0') * 10 + text[hours + 2] - '0';
    if (hours == 2)
        hour = hour * 10 + text[1] - '0';
    if (minute > 59 || hour * 60 + minute > DENY_DAY_MINUTES)
        return false;
    *ret_minutes = hour * 60 + minute;
    return true;
}
