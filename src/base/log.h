/*
 * Lines on stderr for people, or events for machines: only command/ and daemon/ (and main) print;
 * everything below returns errors. Debug lines are exempt. Each line is one write(2), so lines of
 * threads never mix. Level, format and context are set before threads start.
 *
 *     text      "pgcairn: message", then "  hint: ..." when there is one
 *     json      one object per line: time, level, message, and what is known of cluster, job,
 *               run_id, due, attempt, hint, code, outcome, bytes, duration_s
 *     journal   a datagram to systemd's journal (systemd.io, "Native Journal Protocol"), fields
 *               MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, and PGCAIRN_CLUSTER, PGCAIRN_JOB,
 *               PGCAIRN_RUN_ID, PGCAIRN_DUE, PGCAIRN_ATTEMPT, PGCAIRN_HINT, PGCAIRN_CODE,
 *               PGCAIRN_OUTCOME, PGCAIRN_BYTES, PGCAIRN_DURATION_S; when it takes none, text
 *
 * What a run logs can be kept in a file too, whatever the format and the level of stderr:
 * log_keep().
 */
#ifndef PGCAIRN_BASE_LOG_H
#define PGCAIRN_BASE_LOG_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/instant.h"

enum log_level { LOG_QUIET, LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON, LOG_JOURNAL };

enum { LOG_LINE_MAX = 16 << 10 };

#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Texts may be NULL or "": not known. */
struct log_event {
    enum log_level level;
    const char *message, *hint;
    const char *cluster, *job, *run_id;
    int64_t due_us; /* INSTANT_NONE: not known */
    int attempt;    /* 0: not known */
    const char *code, *outcome;
    int64_t bytes, duration_us; /* -1: not known */
};

#define LOG_EVENT(its_level, its_message)         \
    ((struct log_event){.level = (its_level),     \
                        .message = (its_message), \
                        .due_us = INSTANT_NONE,   \
                        .bytes = -1,              \
                        .duration_us = -1})

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

void log_set_format(enum log_format format);
enum log_format log_get_format(void);
int log_format_parse(const char *name, enum log_format *ret_format, struct error *err);

/* Whether stderr is the journal's own socket ($JOURNAL_STREAM, systemd.exec(5)). */
bool log_is_journal_stream(void);

/* What every event of this process is about, from now on; copied. */
void log_set_context(const char *cluster, const char *job, const char *run_id, int64_t due_us,
                     int attempt);

/* Everything up to LOG_INFO is written to the descriptor too, as "TIME LEVEL message", up to
 * bytes_max; that it can't be written is no error. -1 ends it. */
void log_keep(int fd, size_t bytes_max);

/* For that file alone. */
void log_kept(const struct log_event *event);

/* "pgcairn: text", with "warning: " or "debug: " in front for those levels. */
void log_line(enum log_level level, const char *format, ...) _printf_(2, 3);

/* "pgcairn: [subject: ]message", then "  hint: ..." when there is one. subject may
 * be NULL. */
void log_error(const char *subject, const struct error *err);

/* By the format; in LOG_TEXT as log_line() and log_error() have it. */
void log_event(const struct log_event *event);

/* The bytes of an event: a line with its newline, a datagram, a line for a file. Pure; for the
 * tests, and for those who write lines of their own (daemon/say.h). */
void log_json_write(const struct log_event *event, int64_t now_us, struct buf *out);
void log_journal_write(const struct log_event *event, struct buf *out);
void log_file_write(const struct log_event *event, int64_t now_us, struct buf *out);

const char *log_level_name(enum log_level level); /* "warning" */

/* Sends to the socket at the path; ERR_IO when nobody takes it. */
int log_journal_send(const char *path, const struct buf *datagram, struct error *err);

#endif
