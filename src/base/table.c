#include "base/table.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/strv.h"

struct table {
    size_t columns;
    bool right[TABLE_COLUMNS_MAX];
    size_t width[TABLE_COLUMNS_MAX];
    struct strv cells;
};

/* Characters, not bytes: continuation bytes of UTF-8 do not count. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static int add_cell(struct table *table, const char *text, size_t length, struct error *err)
{
    int rc = strv_take(&table->cells, strndup(text, length), err);
    if (rc)
        return rc;
    size_t column = (table->cells.count - 1) % table->columns;
    size_t width = text_width(table->cells.items[table->cells.count - 1]);
    if (width > table->width[column])
        table->width[column] = width;
    return 0;
}

int table_new(const char *columns, struct table **ret_table, struct error *err)
{
    struct table *table = calloc(1, sizeof(*table));
    if (!table)
        return error_no_memory(err);
    table->cells = STRV_INIT(TABLE_CELLS_MAX);
    table->columns = 1;
    for (const char *c = columns; *c; c++)
        table->columns += *c == '|';
    int rc = 0;
    if (table->columns > TABLE_COLUMNS_MAX)
        rc = error_set(err, ERR_LIMIT, "more than %d columns in a table", TABLE_COLUMNS_MAX);
    for (size_t i = 0; i < table->columns && !rc; i++) {
        table->right[i] = *columns == '>';
        columns += table->right[i];
        size_t length = strcspn(columns, "|");
        rc = add_cell(table, columns, length, err);
        columns += length + (columns[length] == '|');
    }
    if (rc) {
        table_free(table);
        return rc;
    }
    *ret_table = table;
    return 0;
}

struct table *table_free(struct table *table)
{
    if (table)
        strv_clear(&table->cells);
    free(table);
    return NULL;
}

int table_row(struct table *table, struct error *err, ...)
{
    int rc = 0;
    va_list args;
    va_start(args, err);
    for (size_t i = 0; i < table->columns && !rc; i++) {
        const char *text = va_arg(args, const char *);
        rc = add_cell(table, text, strlen(text), err);
    }
    va_end(args);
    return rc;
}

static void print_cell(const struct table *table, size_t column, const char *text, FILE *file)
{
    size_t padding = table->width[column] - text_width(text);
    bool last = column + 1 == table->columns;
    if (table->right[column])
        fprintf(file, "%*s%s", (int)padding, "", text);
    else
        fprintf(file, "%s%*s", text, last ? 0 : (int)padding, "");
    fputs(last ? "\n" : "  ", file);
}

int table_print(const struct table *table, FILE *file, struct error *err)
{
    errno = 0;
    for (size_t i = 0; i < table->cells.count; i++)
        print_cell(table, i % table->columns, table->cells.items[i], file);
    if (fflush(file) != 0 || ferror(file)) /* lines before may be lost when the last one is not */
        return error_set_errno(err, errno ? errno : EIO, "could not write the table");
    return 0;
}
