/* Windows less windows. */
#include <stdlib.h>

#include "retention/continuity.h"

/* What is left of one window when those after have been taken from it; both lists are in order. */
static size_t subtract(const struct continuity_window *window, const struct continuity *after,
                       struct continuity_span *spans)
{
    int64_t from_us = window->from_us;
    size_t count = 0;
    for (size_t i = 0; i < after->window_count; i++) {
        const struct continuity_window *left = &after->windows[i];
        if (left->to_us < from_us || left->from_us > window->to_us)
            continue;
        if (left->from_us > from_us)
            spans[count++] = (struct continuity_span){from_us, left->from_us};
        from_us = left->to_us;
        if (from_us >= window->to_us)
            return count;
    }
    spans[count++] = (struct continuity_span){from_us, window->to_us};
    return count;
}

int continuity_find_lost(const struct continuity *before, const struct continuity *after,
                         struct continuity_span **ret_spans, size_t *ret_count, struct error *err)
{
    size_t most = before->window_count * (after->window_count + 1), count = 0;
    struct continuity_span *spans = calloc(most + 1, sizeof(*spans));
    if (!spans)
        return error_no_memory(err);
    for (size_t i = 0; i < before->window_count; i++)
        count += subtract(&before->windows[i], after, spans + count);
    *ret_spans = spans;
    *ret_count = count;
    return 0;
}
