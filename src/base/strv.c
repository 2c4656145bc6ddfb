#include "base/strv.h"

#include <stdarg.h>
#include <string.h>

void strv_clear(struct strv *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct strv){.limit = list->limit};
}

int strv_take(struct strv *list, char *text, struct error *err)
{
    _cleanup_(freep) char *owned = text;
    if (!text)
        return error_no_memory(err);
    if (list->count >= list->limit)
        return error_set(err, ERR_LIMIT, "more than %zu items in a list", list->limit);
    if (list->count + 2 > list->allocated) {
        size_t size = list->allocated ? list->allocated * 2 : 8;
        char **items = reallocarray(list->items, size, sizeof(char *));
        if (!items)
            return error_no_memory(err);
        list->items = items;
        list->allocated = size;
    }
    list->items[list->count++] = TAKE(owned);
    list->items[list->count] = NULL;
    return 0;
}

int strv_add(struct strv *list, const char *text, struct error *err)
{
    return strv_take(list, strdup(text), err);
}

int strv_addf(struct strv *list, struct error *err, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return strv_take(list, length < 0 ? NULL : text, err);
}

bool strv_has(const struct strv *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *list)
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof(char *), compare_texts);
}
