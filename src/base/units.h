/*
 * Durations ("90s 15m 6h 7d 5w"), sizes ("16MB 1GiB 512kB") and whole numbers as people write them,
 * strict: a number without sign, then a unit; nothing before, between or behind. Pure.
 */
#ifndef PGCAIRN_BASE_UNITS_H
#define PGCAIRN_BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { UNITS_TEXT_MAX = 64 };

/* Units s m h d w, and "0". At most 100 years. */
int duration_parse(const char *text, int64_t *ret_us, struct error *err);

/* "6h", "1d 4h", "1m 30s", "250ms": at most two units, rounded down; negative durations get a "-".
 */
char *duration_format(int64_t us, char text[UNITS_TEXT_MAX]);

/* Plain bytes, or B kB MB GB TB (powers of 1000) and KiB MiB GiB TiB (powers of 1024); at most
 * 1 EiB. Case of the unit does not matter. */
int size_parse(const char *text, int64_t *ret_bytes, struct error *err);

/* "0 B", "16.0 MB", "1.4 GB": powers of 1000. */
char *size_format(int64_t bytes, char text[UNITS_TEXT_MAX]);

/* Takes the decimal digits at *cursor and moves it behind them; false, and nothing moved, when
 * there are none or they are too many for an int64_t. */
bool number_take(const char **cursor, int64_t *ret_number);

/* Decimal digits only, low <= number <= high. `what` names it in the error. */
int number_parse(const char *text, const char *what, int64_t low, int64_t high, int64_t *ret_number,
                 struct error *err);

#endif
