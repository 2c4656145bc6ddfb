#include "daemon/say.h"

#include <stdarg.h>
#include <string.h>

#include "base/buf.h"
#include "base/instant.h"
#include "journal/run_log.h"

enum { LINE_MAX_BYTES = 8 << 10, SUBJECT_MAX = 160 };

static const char *run_logs;

void say_to_run_logs(const char *state_folder)
{
    run_logs = state_folder;
}

static bool is_known(const char *text)
{
    return text && *text;
}

static void keep(const struct log_event *event)
{
    _cleanup_(buf_clear) struct buf line = BUF_INIT(LINE_MAX_BYTES);
    if (!run_logs || !is_known(event->run_id) || event->level > LOG_INFO)
        return;
    log_file_write(event, instant_now_us(), &line);
    run_log_append(run_logs, event->run_id, buf_text(&line), line.length);
}

static void print_text(const struct log_event *event, const char *mark)
{
    char at[INSTANT_TEXT_MAX];
    bool has_hint = is_known(event->hint);
    _cleanup_(buf_clear) struct buf line = BUF_INIT(LINE_MAX_BYTES);
    buf_addf(&line, "%s %s ", instant_format(instant_now_us(), at), log_level_name(event->level));
    if (is_known(event->cluster))
        buf_addf(&line, "%s%s%s: ", event->cluster, is_known(event->run_id) ? " " : "",
                 event->run_id ? event->run_id : "");
    buf_addf(&line, "%s%s%s%s%s\n", mark, event->message, has_hint ? " (hint: " : "",
             has_hint ? event->hint : "", has_hint ? ")" : "");
    ssize_t written = write(STDERR_FILENO, buf_text(&line), line.length);
    (void)written; /* nowhere left to report it */
}

/* The subject is "CLUSTER/JOB" or "CLUSTER". */
static void print(const struct log_event *event, const char *mark)
{
    struct log_event split = *event;
    char subject[SUBJECT_MAX];
    if (event->level > log_get_level())
        return;
    if (log_get_format() == LOG_TEXT) {
        print_text(event, mark);
        return;
    }
    snprintf(subject, sizeof(subject), "%s", event->cluster ? event->cluster : "");
    char *slash = strchr(subject, '/');
    if (slash)
        *slash = '\0';
    split.cluster = subject;
    split.job = slash ? slash + 1 : NULL;
    log_event(&split);
}

void say_event(const struct log_event *event)
{
    keep(event);
    print(event, "");
}

void say(enum log_level level, const char *subject, const char *run_id, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX + ERROR_HINT_MAX];
    if (level > log_get_level() && level > LOG_INFO)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct log_event event = LOG_EVENT(level, text);
    event.cluster = subject;
    event.run_id = run_id;
    say_event(&event);
}

void say_error(const char *subject, const char *run_id, const char *what, const struct error *err)
{
    char text[ERROR_MESSAGE_MAX + 256];
    snprintf(text, sizeof(text), "%s%s%s", what ? what : "", what ? ": " : "", err->message);
    struct log_event event = LOG_EVENT(LOG_ERROR, text);
    event.cluster = subject;
    event.run_id = run_id;
    event.hint = err->hint;
    event.code = error_code_name(err->code);
    say_event(&event);
}

void say_line(enum log_level level, const char *subject, const char *run_id, const char *line,
              bool is_own)
{
    struct log_event event = LOG_EVENT(level, line);
    event.cluster = subject;
    event.run_id = run_id;
    if (!is_own)
        keep(&event);
    print(&event, "| ");
}
