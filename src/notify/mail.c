#include "notify/mail.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "notify/message.h"

enum {
    LINE_MAX_BYTES = 76,
    WORD_BYTES = 42, /* of text in one encoded word: 56 of base64, and its frame */
};

static bool is_plain(const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            return false;
    return strstr(text, "=?") == NULL;
}

/* Folds at blanks. */
static void add_folded(const char *name, const char *text, struct buf *out)
{
    size_t line = strlen(name) + 1;
    buf_addf(out, "%s:", name);
    while (*text) {
        size_t word = strcspn(text, " ");
        if (line + 1 + word > LINE_MAX_BYTES && line > strlen(name) + 1) {
            buf_add_text(out, "\r\n");
            line = 0;
        }
        buf_addf(out, " %.*s", (int)word, text);
        line += 1 + word;
        text += word;
        text += strspn(text, " ");
    }
    buf_add_text(out, "\r\n");
}

void mail_header(const char *name, const char *text, struct buf *out)
{
    if (is_plain(text)) {
        add_folded(name, text, out);
        return;
    }
    buf_addf(out, "%s:", name);
    while (*text) {
        unsigned char encoded[4 * (WORD_BYTES / 3 + 1) + 1];
        size_t length = strnlen(text, WORD_BYTES);
        /* Each word holds whole characters. */
        while (length > 1 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
        EVP_EncodeBlock(encoded, (const unsigned char *)text, (int)length);
        text += length;
        buf_addf(out, " =?UTF-8?B?%s?=%s", encoded, *text ? "\r\n" : "");
    }
    buf_add_text(out, "\r\n");
}

/* A blank at a line's end is lost by some servers, and a point at its begin is SMTP's own. */
static bool is_safe(unsigned char c, bool is_first, bool is_last)
{
    if (c == ' ' || c == '\t')
        return !is_last;
    if (c == '.')
        return !is_first;
    return c > ' ' && c <= '~' && c != '=';
}

void mail_quoted(const char *text, struct buf *out)
{
    size_t line = 0;
    for (const char *c = text; *c; c++) {
        if (*c == '\n') {
            buf_add_text(out, "\r\n");
            line = 0;
            continue;
        }
        bool is_last = c[1] == '\n' || c[1] == '\0';
        bool safe = is_safe((unsigned char)*c, line == 0, is_last);
        size_t width = safe ? 1 : 3;
        if (line + width > LINE_MAX_BYTES - 1) {
            buf_add_text(out, "=\r\n");
            line = 0;
            safe = is_safe((unsigned char)*c, true, is_last);
            width = safe ? 1 : 3;
        }
        if (safe)
            buf_add(out, c, 1);
        else
            buf_addf(out, "=%02X", (unsigned char)*c);
        line += width;
    }
}

static void add_date(int64_t at_us, struct buf *out)
{
    static const char *const DAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil civil;
    civil_from_seconds(at_us / US_PER_SECOND, &civil);
    int day = civil_weekday(civil_days(civil.year, civil.month, civil.day));
    buf_addf(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", DAYS[day], civil.day,
             MONTHS[civil.month - 1], civil.year, civil.hour, civil.minute, civil.second);
}

static int add_message_id(const struct policy_notify *notify, const struct notify_event *event,
                          struct buf *out, struct error *err)
{
    char uuid[NOTIFY_UUID_MAX];
    const char *at = strrchr(notify->from, '@');
    int rc = notify_run_uuid(event, uuid, err);
    if (!rc)
        buf_addf(out, "Message-ID: <%s.%s.%lld%s>\r\n", uuid, notify_event_kind_name(event->kind),
                 (long long)event->at_us, at ? at : "@localhost");
    return rc;
}

int notify_mail(const struct policy_notify *notify, const struct notify_event *event, bool is_test,
                struct buf *mail, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(NOTIFY_MESSAGE_MAX);
    char subject[NOTIFY_SUBJECT_MAX], whole[NOTIFY_SUBJECT_MAX + 16];
    add_date(event->at_us, mail);
    buf_addf(mail, "From: pgcairn <%s>\r\n", notify->from);
    for (size_t i = 0; i < notify->to.count; i++)
        buf_addf(mail, "%s<%s>%s", i ? " " : "To: ", notify->to.items[i],
                 i + 1 < notify->to.count ? ",\r\n" : "\r\n");
    notify_subject(event, is_test, subject);
    snprintf(whole, sizeof(whole), "[pgcairn] %s", subject);
    mail_header("Subject", whole, mail);
    int rc = add_message_id(notify, event, mail, err);
    buf_add_text(mail, "MIME-Version: 1.0\r\n"
                       "Content-Type: text/plain; charset=utf-8\r\n"
                       "Content-Transfer-Encoding: quoted-printable\r\n"
                       "Auto-Submitted: auto-generated\r\n"
                       "\r\n");
    buf_addf(&text, "%s\n\n", subject);
    notify_text(event, is_test, &text);
    mail_quoted(buf_text(&text), mail);
    return rc ? rc : buf_failed(&text, "the message", err);
}
