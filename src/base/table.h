/*
 * Text tables on stdout for people: a header, rows, columns as wide as their widest cell (counted
 * in UTF-8 characters), numbers to the right.
 *
 *     struct table *table = NULL;
 *     table_new("ID|STATE|>SIZE", &table, err);      '>' sets a column to the right
 *     table_row(table, err, id, state, size_text);   as many strings as there are columns
 *     table_print(table, stdout, err);
 */
#ifndef PGCAIRN_BASE_TABLE_H
#define PGCAIRN_BASE_TABLE_H

#include <stdio.h>

#include "base/error.h"

enum { TABLE_COLUMNS_MAX = 16, TABLE_CELLS_MAX = 4000000 };

struct table;

int table_new(const char *columns, struct table **ret_table, struct error *err);
struct table *table_free(struct table *table);
int table_row(struct table *table, struct error *err, ...); /* const char * per column */
int table_print(const struct table *table, FILE *file, struct error *err);

DEFINE_FREEP(struct table *, table_free)

#endif
