/* Events as machines take them: a line of JSON, a datagram of systemd's journal. */
#include <endian.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/utf8.h"

/* Of syslog(3), which the journal's PRIORITY takes. */
static const int PRIORITIES[] = {6, 3, 4, 6, 7};

static bool is_known(const char *text)
{
    return text && *text;
}

/* -- JSON ------------------------------------------------------------------------------------ */

static void set_text(json_t *object, const char *key, const char *text)
{
    char mended[ERROR_MESSAGE_MAX + ERROR_HINT_MAX];
    if (!is_known(text))
        return;
    snprintf(mended, sizeof(mended), "%s", text);
    json_object_set_new(object, key, json_string(utf8_mend(mended)));
}

void log_json_write(const struct log_event *event, int64_t now_us, struct buf *out)
{
    char at[INSTANT_TEXT_MAX];
    json_t *object = json_object();
    set_text(object, "time", instant_format_micros(now_us, at));
    set_text(object, "level", log_level_name(event->level));
    set_text(object, "cluster", event->cluster);
    set_text(object, "job", event->job);
    set_text(object, "run_id", event->run_id);
    if (event->due_us != INSTANT_NONE)
        set_text(object, "due", instant_format(event->due_us, at));
    if (event->attempt > 0)
        json_object_set_new(object, "attempt", json_integer(event->attempt));
    set_text(object, "message", event->message);
    set_text(object, "hint", event->hint);
    set_text(object, "code", event->code);
    set_text(object, "outcome", event->outcome);
    if (event->bytes >= 0)
        json_object_set_new(object, "bytes", json_integer((json_int_t)event->bytes));
    if (event->duration_us >= 0)
        json_object_set_new(object, "duration_s", json_real((double)event->duration_us / 1e6));
    char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
    if (text)
        buf_addf(out, "%s\n", text);
    free(text);
    json_decref(object);
}

/* -- the journal ----------------------------------------------------------------------------- */

/* "NAME=value", or where it has lines "NAME", its length in 8 bytes, little-endian, and the value.
 */
static void add_field(struct buf *out, const char *name, const char *value)
{
    if (!is_known(value))
        return;
    if (!strchr(value, '\n')) {
        buf_addf(out, "%s=%s\n", name, value);
        return;
    }
    uint64_t length = htole64(strlen(value));
    buf_addf(out, "%s\n", name);
    buf_add(out, &length, sizeof(length));
    buf_addf(out, "%s\n", value);
}

void log_journal_write(const struct log_event *event, struct buf *out)
{
    char text[INSTANT_TEXT_MAX];
    buf_addf(out, "PRIORITY=%d\nSYSLOG_IDENTIFIER=pgcairn\n", PRIORITIES[event->level]);
    add_field(out, "MESSAGE", event->message);
    add_field(out, "PGCAIRN_CLUSTER", event->cluster);
    add_field(out, "PGCAIRN_JOB", event->job);
    add_field(out, "PGCAIRN_RUN_ID", event->run_id);
    if (event->due_us != INSTANT_NONE)
        add_field(out, "PGCAIRN_DUE", instant_format(event->due_us, text));
    if (event->attempt > 0)
        buf_addf(out, "PGCAIRN_ATTEMPT=%d\n", event->attempt);
    add_field(out, "PGCAIRN_HINT", event->hint);
    add_field(out, "PGCAIRN_CODE", event->code);
    add_field(out, "PGCAIRN_OUTCOME", event->outcome);
    if (event->bytes >= 0)
        buf_addf(out, "PGCAIRN_BYTES=%lld\n", (long long)event->bytes);
    if (event->duration_us >= 0)
        buf_addf(out, "PGCAIRN_DURATION_S=%.6f\n", (double)event->duration_us / 1e6);
}

int log_journal_send(const char *path, const struct buf *datagram, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(err, ERR_IO, "the path \"%s\" is too long for a socket", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (fd < 0 || sendto(fd, buf_text(datagram), datagram->length, MSG_NOSIGNAL | MSG_DONTWAIT,
                         (const struct sockaddr *)&address, sizeof(address)) < 0)
        return error_set_errno(err, errno, "the journal at \"%s\" took nothing", path);
    return 0;
}
