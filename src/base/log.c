#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

enum { CONTEXT_MAX = 64 };

static enum log_level current_level = LOG_INFO;
static enum log_format current_format = LOG_TEXT;

static struct {
    char cluster[CONTEXT_MAX], job[CONTEXT_MAX], run_id[CONTEXT_MAX];
    int64_t due_us;
    int attempt;
} context = {.due_us = INSTANT_NONE};

static int kept_fd = -1;
static atomic_llong kept_left;

static const char *const LEVELS[] = {"", "error", "warning", "info", "debug"};
static const char *const FORMATS[] = {"text", "json", "journal"};

void log_set_level(enum log_level level)
{
    current_level = level;
}

enum log_level log_get_level(void)
{
    return current_level;
}

void log_set_format(enum log_format format)
{
    current_format = format;
}

enum log_format log_get_format(void)
{
    return current_format;
}

const char *log_level_name(enum log_level level)
{
    return LEVELS[level];
}

int log_format_parse(const char *name, enum log_format *ret_format, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(FORMATS); i++) {
        if (strcmp(name, FORMATS[i]) == 0) {
            *ret_format = (enum log_format)i;
            return 0;
        }
    }
    error_set(err, ERR_USAGE, "there is no log format \"%s\"", name);
    return error_hint(err, "there are: text, json, journal");
}

bool log_is_journal_stream(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat status;
    if (!stream || fstat(STDERR_FILENO, &status) != 0)
        return false;
    snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    return strcmp(stream, own) == 0;
}

void log_set_context(const char *cluster, const char *job, const char *run_id, int64_t due_us,
                     int attempt)
{
    snprintf(context.cluster, sizeof(context.cluster), "%s", cluster);
    snprintf(context.job, sizeof(context.job), "%s", job);
    snprintf(context.run_id, sizeof(context.run_id), "%s", run_id);
    context.due_us = due_us;
    context.attempt = attempt;
}

/* -- the kept file --------------------------------------------------------------------------- */

void log_keep(int fd, size_t bytes_max)
{
    atomic_store(&kept_left, (long long)bytes_max);
    kept_fd = fd;
}

static void write_out(int fd, const struct buf *line)
{
    ssize_t written = write(fd, buf_text(line), line->length);
    (void)written; /* nowhere left to report it */
}

void log_file_write(const struct log_event *event, int64_t now_us, struct buf *out)
{
    char at[INSTANT_TEXT_MAX];
    buf_addf(out, "%s %s %s%s%s%s\n", instant_format(now_us, at), LEVELS[event->level],
             event->message, event->hint && *event->hint ? " (hint: " : "",
             event->hint ? event->hint : "", event->hint && *event->hint ? ")" : "");
}

void log_kept(const struct log_event *event)
{
    static const char CUT[] = "it says too much: the rest is left out\n";
    if (kept_fd < 0 || event->level > LOG_INFO)
        return;
    _cleanup_(buf_clear) struct buf line = BUF_INIT(LOG_LINE_MAX);
    log_file_write(event, instant_now_us(), &line);
    long long left = atomic_fetch_sub(&kept_left, (long long)line.length);
    if (left >= (long long)line.length) {
        write_out(kept_fd, &line);
    } else if (left > 0) { /* the first that does not fit says so, none after it */
        atomic_store(&kept_left, 0);
        buf_reset(&line);
        buf_add_text(&line, CUT);
        write_out(kept_fd, &line);
    }
}

/* -- events ---------------------------------------------------------------------------------- */

static void fill_context(struct log_event *event)
{
    if (event->run_id || !context.cluster[0])
        return;
    event->cluster = context.cluster;
    event->job = context.job;
    event->run_id = context.run_id;
    event->due_us = context.due_us;
    event->attempt = context.attempt;
}

static void print_text(const struct log_event *event)
{
    const char *tag = event->level == LOG_WARNING ? "warning: "
                      : event->level == LOG_DEBUG ? "debug: "
                                                  : "";
    _cleanup_(buf_clear) struct buf line = BUF_INIT(LOG_LINE_MAX);
    buf_addf(&line, "pgcairn: %s%s\n", tag, event->message);
    if (event->hint && event->hint[0])
        buf_addf(&line, "  hint: %s\n", event->hint);
    write_out(STDERR_FILENO, &line);
}

void log_event(const struct log_event *event)
{
    struct log_event whole = *event;
    _cleanup_(buf_clear) struct buf bytes = BUF_INIT(2 * LOG_LINE_MAX);
    fill_context(&whole);
    log_kept(&whole);
    if (event->level > current_level)
        return;
    if (current_format == LOG_JSON) {
        log_json_write(&whole, instant_now_us(), &bytes);
        write_out(STDERR_FILENO, &bytes);
        return;
    }
    if (current_format == LOG_JOURNAL)
        log_journal_write(&whole, &bytes);
    if (current_format == LOG_TEXT || log_journal_send(LOG_JOURNAL_SOCKET, &bytes, NULL))
        print_text(&whole);
}

void log_line(enum log_level level, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    if (level > current_level && (level > LOG_INFO || kept_fd < 0))
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_event(&LOG_EVENT(level, text));
}

void log_error(const char *subject, const struct error *err)
{
    char text[ERROR_MESSAGE_MAX + 256];
    snprintf(text, sizeof(text), "%s%s%s", subject ? subject : "", subject ? ": " : "",
             err->message);
    struct log_event event = LOG_EVENT(LOG_ERROR, text);
    event.hint = error_cure(err);
    event.code = error_code_name(err->code);
    log_event(&event);
}
