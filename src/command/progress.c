#include "command/progress.h"

#include <string.h>

#include "base/instant.h"
#include "base/log.h"
#include "base/units.h"

enum { PHASE_MAX = 200, BAR_WIDTH = 30, REDRAW_US = 200000 };

#define LEFT_MAX_US (100 * US_PER_DAY) /* no guess that is further off is worth showing */

struct progress {
    bool quiet, is_terminal, bar_drawn;
    const char *items; /* what is counted; NULL: bytes */
    char phase[PHASE_MAX];
    int64_t phase_started_us, shown_us; /* monotonic */
};

int progress_new(bool quiet, const char *items, struct progress **ret_progress, struct error *err)
{
    struct progress *progress = calloc(1, sizeof(*progress));
    if (!progress)
        return error_no_memory(err);
    progress->quiet = quiet;
    progress->items = items;
    progress->is_terminal = isatty(STDERR_FILENO) && log_get_format() == LOG_TEXT;
    *ret_progress = progress;
    return 0;
}

static void erase_bar(struct progress *progress)
{
    if (progress->bar_drawn)
        fputs("\r\033[K", stderr);
    progress->bar_drawn = false;
}

/* "1.2 GB of about 4.0 GB, 210.0 MB/s, 13s left", or "3 of 40 tables" */
static void describe(const struct progress *progress, int64_t done, int64_t total, int64_t now_us,
                     char *text, size_t size)
{
    char done_text[UNITS_TEXT_MAX], total_text[UNITS_TEXT_MAX], speed_text[UNITS_TEXT_MAX];
    char left_text[UNITS_TEXT_MAX];
    if (progress->items) {
        snprintf(text, size, "%lld of %lld %s", (long long)done, (long long)total, progress->items);
        return;
    }
    int64_t spent_us = now_us - progress->phase_started_us;
    double speed = spent_us > 0 ? (double)done * (double)US_PER_SECOND / (double)spent_us : 0;
    size_format(done, done_text);
    size_format(total, total_text);
    size_format((int64_t)speed, speed_text);
    int used = snprintf(text, size, "%s of about %s, %s/s", done_text, total_text, speed_text);
    double left_us =
        speed > 0 ? (double)(total - done) / speed * (double)US_PER_SECOND : (double)LEFT_MAX_US;
    if (left_us > 0 && left_us < (double)LEFT_MAX_US && used > 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, ", %s left",
                 duration_format((int64_t)left_us, left_text));
}

static void draw_bar(struct progress *progress, int64_t done, int64_t total, int64_t now_us)
{
    char text[256] = "", bar[BAR_WIDTH + 1];
    int filled = 0;
    if (total > 0)
        filled = done >= total ? BAR_WIDTH : (int)((double)done * BAR_WIDTH / (double)total);
    memset(bar, '-', BAR_WIDTH);
    memset(bar, '#', (size_t)filled);
    bar[BAR_WIDTH] = '\0';
    erase_bar(progress);
    if (total > 0) {
        describe(progress, done, total, now_us, text, sizeof(text));
        fprintf(stderr, "%s [%s] %s", progress->phase, bar, text);
    } else {
        fprintf(stderr, "%s ...", progress->phase);
    }
    fflush(stderr);
    progress->bar_drawn = true;
}

static void print_line(struct progress *progress, int64_t done, int64_t total, int64_t now_us)
{
    char text[256] = "";
    if (total > 0)
        describe(progress, done, total, now_us, text, sizeof(text));
    log_line(LOG_INFO, "%s%s%s", progress->phase, text[0] ? ": " : "", text);
}

void progress_show(struct progress *progress, const char *phase, int64_t done, int64_t total)
{
    int64_t now_us = instant_monotonic_us();
    done = done < 0 ? 0 : done;
    bool is_new = strncmp(progress->phase, phase, PHASE_MAX - 1) != 0;
    if (progress->quiet)
        return;
    if (is_new) {
        snprintf(progress->phase, sizeof(progress->phase), "%s", phase);
        progress->phase_started_us = now_us;
    }
    int64_t pause_us = progress->is_terminal ? REDRAW_US : PROGRESS_LINE_SECONDS * US_PER_SECOND;
    bool must_show = is_new && (!progress->items || progress->is_terminal);
    if (!must_show && now_us - progress->shown_us < pause_us)
        return;
    progress->shown_us = now_us;
    if (progress->is_terminal)
        draw_bar(progress, done, total, now_us);
    else
        print_line(progress, done, is_new && !progress->items ? 0 : total, now_us);
}

void progress_notice(struct progress *progress, const char *text)
{
    erase_bar(progress);
    log_line(LOG_INFO, "%s", text);
}

void progress_end(struct progress *progress)
{
    erase_bar(progress);
    fflush(stderr);
}

struct progress *progress_free(struct progress *progress)
{
    if (progress)
        progress_end(progress);
    free(progress);
    return NULL;
}
