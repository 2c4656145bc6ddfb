#include "daemon/say.h"

#include <stdarg.h>

#include "base/buf.h"
#include "base/instant.h"

enum { LINE_MAX_BYTES = 8 << 10 };

static const char *const LEVELS[] = {"", "error", "warning", "info", "debug"};

void say(enum log_level level, const char *subject, const char *run_id, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX + ERROR_HINT_MAX], at[INSTANT_TEXT_MAX];
    if (level > log_get_level())
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    _cleanup_(buf_clear) struct buf line = BUF_INIT(LINE_MAX_BYTES);
    buf_addf(&line, "%s %s ", instant_format(instant_now_us(), at), LEVELS[level]);
    if (subject)
        buf_addf(&line, "%s%s%s: ", subject, run_id && *run_id ? " " : "", run_id ? run_id : "");
    buf_addf(&line, "%s\n", text);
    ssize_t written = write(STDERR_FILENO, buf_text(&line), line.length);
    (void)written; /* nowhere left to report it */
}

void say_error(const char *subject, const char *run_id, const char *what, const struct error *err)
{
    say(LOG_ERROR, subject, run_id, "%s%s%s%s%s%s", what ? what : "", what ? ": " : "",
        err->message, err->hint[0] ? " (hint: " : "", err->hint, err->hint[0] ? ")" : "");
}
