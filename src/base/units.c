#include "base/units.h"

#include <string.h>
#include <strings.h>

#include "base/instant.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit DURATIONS[] = {
    {"s", US_PER_SECOND}, {"m", US_PER_MINUTE},  {"h", US_PER_HOUR},
    {"d", US_PER_DAY},    {"w", 7 * US_PER_DAY},
};

static const struct unit SIZES[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1000},
    {"MB", 1000 * 1000},
    {"GB", 1000 * 1000 * 1000},
    {"TB", INT64_C(1000) * 1000 * 1000 * 1000},
    {"KiB", 1 << 10},
    {"MiB", 1 << 20},
    {"GiB", 1 << 30},
    {"TiB", INT64_C(1) << 40},
};

bool number_take(const char **cursor, int64_t *ret_number)
{
    int64_t number = 0;
    const char *c = *cursor;
    for (; *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, *c - '0', &number))
            return false;
    if (c == *cursor)
        return false;
    *cursor = c;
    *ret_number = number;
    return true;
}

static bool parse_with_units(const char *text, const struct unit *units, size_t count, int64_t max,
                             int64_t *ret_value)
{
    int64_t number;
    const char *cursor = text;
    if (!number_take(&cursor, &number))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(cursor, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(number, units[i].factor, &number) || number > max)
            return false;
        *ret_value = number;
        return true;
    }
    return false;
}

int duration_parse(const char *text, int64_t *ret_us, struct error *err)
{
    if (strcmp(text, "0") == 0) {
        *ret_us = 0;
        return 0;
    }
    if (parse_with_units(text, DURATIONS, ARRAY_SIZE(DURATIONS), 36525 * US_PER_DAY, ret_us))
        return 0;
    error_set(err, ERR_USAGE, "\"%s\" is not a duration", text);
    return error_hint(err, "write a number and a unit: 90s, 15m, 6h, 7d or 5w");
}

int size_parse(const char *text, int64_t *ret_bytes, struct error *err)
{
    if (parse_with_units(text, SIZES, ARRAY_SIZE(SIZES), INT64_C(1) << 60, ret_bytes))
        return 0;
    error_set(err, ERR_USAGE, "\"%s\" is not a size", text);
    return error_hint(err, "write a number and a unit: 512kB, 16MB, 1GiB");
}

int number_parse(const char *text, const char *what, int64_t low, int64_t high, int64_t *ret_number,
                 struct error *err)
{
    int64_t number;
    const char *cursor = text;
    if (number_take(&cursor, &number) && *cursor == '\0' && number >= low && number <= high) {
        *ret_number = number;
        return 0;
    }
    return error_set(err, ERR_USAGE, "%s must be a whole number from %lld to %lld, not \"%s\"",
                     what, (long long)low, (long long)high, text);
}

char *duration_format(int64_t us, char text[UNITS_TEXT_MAX])
{
    static const struct unit SHOWN[] = {
        {"d", US_PER_DAY}, {"h", US_PER_HOUR}, {"m", US_PER_MINUTE}, {"s", US_PER_SECOND}};
    const char *sign = us < 0 ? "-" : "";
    int64_t rest = us == INT64_MIN ? INT64_MAX : us < 0 ? -us : us;
    if (rest < US_PER_SECOND) {
        snprintf(text, UNITS_TEXT_MAX, "%s%lldms", sign, (long long)(rest / 1000));
        return text;
    }
    size_t i = 0;
    while (rest < SHOWN[i].factor)
        i++;
    long long first = rest / SHOWN[i].factor;
    long long second = i + 1 < ARRAY_SIZE(SHOWN) ? rest % SHOWN[i].factor / SHOWN[i + 1].factor : 0;
    if (second)
        snprintf(text, UNITS_TEXT_MAX, "%s%lld%s %lld%s", sign, first, SHOWN[i].name, second,
                 SHOWN[i + 1].name);
    else
        snprintf(text, UNITS_TEXT_MAX, "%s%lld%s", sign, first, SHOWN[i].name);
    return text;
}

char *size_format(int64_t bytes, char text[UNITS_TEXT_MAX])
{
    static const char *const NAMES[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t i = 0;
    while (value >= 999.95 && i + 1 < ARRAY_SIZE(NAMES)) {
        value /= 1000;
        i++;
    }
    snprintf(text, UNITS_TEXT_MAX, i == 0 ? "%.0f %s" : "%.1f %s", value, NAMES[i]);
    return text;
}
