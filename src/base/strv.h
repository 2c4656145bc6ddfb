/*
 * A list of owned strings with a limit on their number, NULL-terminated so that `items` is an argv.
 *
 *     struct strv argv = STRV_INIT(100);
 *     if ((rc = strv_add(&argv, "pg_dump", err))) ...
 *     strv_clear(&argv);
 */
#ifndef PGCAIRN_BASE_STRV_H
#define PGCAIRN_BASE_STRV_H

#include <stddef.h>

#include "base/error.h"

struct strv {
    char **items; /* NULL while empty */
    size_t count;
    size_t allocated;
    size_t limit;
};

#define STRV_INIT(count_limit) ((struct strv){.limit = (count_limit)})

void strv_clear(struct strv *list);
int strv_add(struct strv *list, const char *text, struct error *err); /* copies text */
int strv_addf(struct strv *list, struct error *err, const char *format, ...) _printf_(3, 4);
int strv_take(struct strv *list, char *text, struct error *err); /* owns text, even on failure */
bool strv_has(const struct strv *list, const char *text);
void strv_sort(struct strv *list); /* by bytes */

#endif
