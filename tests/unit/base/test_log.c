/* Events as lines of JSON, as datagrams of the journal, as lines of a file. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"

#define NOW_US INT64_C(1795915446470206)

static struct log_event whole_event(void)
{
    struct log_event event = LOG_EVENT(LOG_ERROR, "two\nlines, \"quoted\", \xff");
    event.hint = "do this";
    event.cluster = "demo";
    event.job = "nightly";
    event.run_id = "20261121T020000Z-x7q2k9";
    event.due_us = INT64_C(1795917600000000);
    event.attempt = 2;
    event.code = "io";
    event.outcome = "failed";
    event.bytes = 70;
    event.duration_us = 1500000;
    return event;
}

static void test_json(void **state)
{
    (void)state;
    struct log_event event = whole_event(), bare = LOG_EVENT(LOG_INFO, "hello");
    struct buf out = BUF_INIT(LOG_LINE_MAX);
    log_json_write(&event, NOW_US, &out);
    assert_string_equal(
        buf_text(&out),
        "{\"time\":\"2026-11-29T01:24:06.470206Z\",\"level\":\"error\",\"cluster\":\"demo\","
        "\"job\":\"nightly\",\"run_id\":\"20261121T020000Z-x7q2k9\",\"due\":\"2026-11-29T02:00:00Z"
        "\",\"attempt\":2,\"message\":\"two\\nlines, \\\"quoted\\\", ?\",\"hint\":\"do this\","
        "\"code\":\"io\",\"outcome\":\"failed\",\"bytes\":70,\"duration_s\":1.5}\n");
    buf_reset(&out);
    log_json_write(&bare, NOW_US, &out);
    assert_string_equal(buf_text(&out), "{\"time\":\"2026-11-29T01:24:06.470206Z\",\"level\":"
                                        "\"info\",\"message\":\"hello\"}\n");
    buf_clear(&out);
}

/* A value of several lines has its length before it, so that no line of it becomes a field. */
static void test_journal(void **state)
{
    (void)state;
    static const char WANTED[] = "PRIORITY=3\nSYSLOG_IDENTIFIER=pgcairn\n"
                                 "MESSAGE\n\x18\0\0\0\0\0\0\0two\nPRIORITY=0, \"quoted\"\n"
                                 "PGCAIRN_CLUSTER=demo\nPGCAIRN_JOB=nightly\n"
                                 "PGCAIRN_RUN_ID=20261121T020000Z-x7q2k9\n"
                                 "PGCAIRN_DUE=2026-11-29T02:00:00Z\nPGCAIRN_ATTEMPT=2\n"
                                 "PGCAIRN_HINT=do this\nPGCAIRN_CODE=io\nPGCAIRN_OUTCOME=failed\n"
                                 "PGCAIRN_BYTES=70\nPGCAIRN_DURATION_S=1.500000\n";
    struct log_event event = whole_event();
    struct buf out = BUF_INIT(LOG_LINE_MAX);
    event.message = "two\nPRIORITY=0, \"quoted\"";
    log_journal_write(&event, &out);
    assert_int_equal(out.length, sizeof(WANTED) - 1);
    assert_memory_equal(out.data, WANTED, sizeof(WANTED) - 1);
    buf_clear(&out);
}

static void test_sends_to_the_journal(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct buf datagram = BUF_INIT(LOG_LINE_MAX);
    struct error err = ERROR_NONE;
    char got[64] = "";
    snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/pgcairn-log-%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    buf_add_text(&datagram, "MESSAGE=x\n");
    assert_int_equal(log_journal_send(address.sun_path, &datagram, &err), ERR_NOT_FOUND);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(log_journal_send(address.sun_path, &datagram, &err), 0);
    assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), 10);
    assert_string_equal(got, "MESSAGE=x\n");
    close(fd);
    unlink(address.sun_path);
    buf_clear(&datagram);
}

/* What is quiet on stderr is kept all the same; the file ends with a word where it is cut. */
static void test_keeps_in_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/pgcairn-kept-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    struct buf text = BUF_INIT(4096);
    log_set_level(LOG_QUIET);
    log_keep(fd, 100);
    log_line(LOG_INFO, "%s", "the first");
    log_line(LOG_DEBUG, "%s", "not this");
    log_line(LOG_WARNING, "%s", "the second, which is much longer than what is left of the bytes");
    log_line(LOG_ERROR, "%s", "the third");
    log_keep(-1, 0);
    log_set_level(LOG_INFO);
    assert_int_equal(file_read(path, &text, NULL), 0);
    const char *behind_time = buf_text(&text) + strlen("2026-11-29T01:24:06Z");
    assert_string_equal(behind_time, " info the first\nit says too much: the rest is left out\n");
    buf_clear(&text);
    close(fd);
    unlink(path);
}

static void test_formats(void **state)
{
    (void)state;
    enum log_format format = LOG_TEXT;
    struct error err = ERROR_NONE;
    assert_int_equal(log_format_parse("journal", &format, &err), 0);
    assert_int_equal(format, LOG_JOURNAL);
    assert_int_equal(log_format_parse("xml", &format, &err), ERR_USAGE);
    assert_string_equal(err.message, "there is no log format \"xml\"");
    assert_string_equal(err.hint, "there are: text, json, journal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_sends_to_the_journal),
        cmocka_unit_test(test_keeps_in_a_file),
        cmocka_unit_test(test_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
