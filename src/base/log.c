#include "base/log.h"

#include <stdarg.h>
#include <string.h>

#include "base/buf.h"

enum { LINE_LIMIT = 16 << 10 };

static enum log_level current_level = LOG_INFO;

void log_set_level(enum log_level level)
{
    current_level = level;
}

enum log_level log_get_level(void)
{
    return current_level;
}

static void write_out(const struct buf *line)
{
    ssize_t written = write(STDERR_FILENO, buf_text(line), line->length);
    (void)written; /* nowhere left to report it */
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > current_level)
        return;
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    const char *tag = level == LOG_WARNING ? "warning: " : level == LOG_DEBUG ? "debug: " : "";
    _cleanup_(buf_clear) struct buf line = BUF_INIT(LINE_LIMIT);
    buf_addf(&line, "pgcairn: %s%s\n", tag, text);
    write_out(&line);
}

void log_error(const char *subject, const struct error *err)
{
    if (current_level < LOG_ERROR)
        return;
    _cleanup_(buf_clear) struct buf line = BUF_INIT(LINE_LIMIT);
    if (subject)
        buf_addf(&line, "pgcairn: %s: %s\n", subject, err->message);
    else
        buf_addf(&line, "pgcairn: %s\n", err->message);
    const char *cure = error_cure(err);
    if (cure[0])
        buf_addf(&line, "  hint: %s\n", cure);
    write_out(&line);
}
