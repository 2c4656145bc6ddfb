/* Dispatch and options, over a table of commands of its own: command.c is compiled in here with
 * that table in the place of commands.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "command/command.h"

#define PGCAIRN_COMMAND_COMMANDS_H
#define COMMAND_LIST(X) \
    X(FAKE_MAKE) X(FAKE_MAKE_ALL) X(FAKE_GROUP_ADD) X(FAKE_GROUP_LIST) X(FAKE_BARE)
static const struct command FAKE_MAKE, FAKE_MAKE_ALL, FAKE_GROUP_ADD, FAKE_GROUP_LIST, FAKE_BARE;
#include "command/command.c"

static struct buf ran; /* what the command that ran was given */

static void describe(const char *name, const struct arguments *arguments)
{
    buf_addf(&ran, "%s(", name);
    for (size_t i = 0; arguments->options && arguments->options[i].name; i++) {
        const struct command_option *option = &arguments->options[i];
        const char *value = argument_text(arguments, option->name);
        if (option->kind == OPTION_FLAG && argument_flag(arguments, option->name))
            buf_addf(&ran, "%s ", option->name);
        else if (option->kind == OPTION_TEXT && value)
            buf_addf(&ran, "%s=%s ", option->name, value);
        const struct strv *list = argument_list(arguments, option->name);
        for (size_t j = 0; j < list->count; j++)
            buf_addf(&ran, "%s+=%s ", option->name, list->items[j]);
    }
    buf_add_text(&ran, "|");
    for (size_t i = 0; i < arguments->words.count; i++)
        buf_addf(&ran, " %s", arguments->words.items[i]);
    buf_add_text(&ran, ")");
}

static int run_make(const struct globals *globals, const struct arguments *arguments,
                    struct error *err)
{
    (void)globals;
    (void)err;
    describe("make", arguments);
    return 0;
}

static int run_other(const struct globals *globals, const struct arguments *arguments,
                     struct error *err)
{
    describe("other", arguments);
    return globals->quiet ? error_set(err, ERR_BUSY, "told to fail") : 0;
}

static const struct command_option MAKE_OPTIONS[] = {
    {"at", OPTION_TEXT, "TIME", "when"},
    {"table", OPTION_LIST, "PATTERN", "what"},
    {"dry-run", OPTION_FLAG, NULL, "only tell"},
    {"n", OPTION_TEXT, "N", "how many"},
    {"a", OPTION_FLAG, NULL, "all"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static const struct command FAKE_MAKE = {.name = "make",
                                         .usage = "NAME [OTHER]",
                                         .summary = "makes one",
                                         .examples = "  pgcairn make x",
                                         .min_words = 1,
                                         .max_words = 2,
                                         .options = MAKE_OPTIONS,
                                         .run = run_make};
static const struct command FAKE_MAKE_ALL = {.name = "make all",
                                             .usage = "",
                                             .summary = "makes",
                                             .min_words = 0,
                                             .max_words = -1,
                                             .run = run_other};
static const struct command FAKE_GROUP_ADD = {.name = "group add",
                                              .usage = "NAME",
                                              .summary = "adds",
                                              .min_words = 1,
                                              .max_words = 1,
                                              .run = run_other};
static const struct command FAKE_GROUP_LIST = {
    .name = "group list", .usage = "", .summary = "lists", .max_words = 0, .run = run_other};
static const struct command FAKE_BARE = {
    .name = "bare", .usage = "", .summary = "does", .max_words = 0, .run = run_other};

enum { WORDS_MAX = 8 };

static const struct {
    const char *argv[WORDS_MAX];
    const char *expected; /* what ran, or the message */
    const char *hint;     /* NULL: it works */
} CALLS[] = {
    {{"make", "x"}, "make(| x)", NULL},
    {{"make", "x", "y"}, "make(| x y)", NULL},
    {{"make", "x", "y", "z"}, "make: too many arguments", "usage: pgcairn make NAME [OTHER]"},
    {{"make"}, "make: something is missing", "usage: pgcairn make NAME [OTHER]"},
    {{"make", "all"}, "other(|)", NULL}, /* the longer name wins */
    {{"make", "all", "a", "b", "c"}, "other(| a b c)", NULL},
    {{"make", "allx"}, "make(| allx)", NULL},
    {{"make", "--at", "now", "x"}, "make(at=now | x)", NULL},
    {{"make", "x", "--at=now"}, "make(at=now | x)", NULL},
    {{"make", "x", "--at="}, "make(at= | x)", NULL},
    {{"make", "x", "--at=a=b"}, "make(at=a=b | x)", NULL},
    {{"make", "x", "--at", "one", "--at", "two"}, "make(at=two | x)", NULL},
    {{"make", "x", "--at", "--dry-run"}, "make(at=--dry-run | x)", NULL},
    {{"make", "x", "--at"}, "option \"--at\" needs a value: TIME", ""},
    {{"make", "x", "--dry-run"}, "make(dry-run | x)", NULL},
    {{"make", "x", "--dry-run=yes"}, "option \"--dry-run\" takes no value", ""},
    {{"make", "x", "--dry-run="}, "option \"--dry-run\" takes no value", ""},
    {{"make", "x", "--table", "a", "--table=b", "--table", "a"},
     "make(table+=a table+=b table+=a | x)",
     NULL},
    {{"make", "x", "-n", "5"}, "make(n=5 | x)", NULL},
    {{"make", "x", "-n=5"}, "make(n=5 | x)", NULL},
    {{"make", "x", "-n", "-5"}, "make(n=-5 | x)", NULL},
    {{"make", "x", "-n"}, "option \"-n\" needs a value: N", ""},
    {{"make", "x", "-n5"}, "make has no option \"-n5\"", "\"pgcairn help make\" lists its options"},
    {{"make", "x", "--n", "5"}, "make has no option \"--n\"", "did you mean \"-n\"?"},
    {{"make", "x", "-at", "5"}, "make has no option \"-at\"", "did you mean \"--at\"?"},
    {{"make", "x", "-a"}, "make(a | x)", NULL},
    {{"make", "x", "--dryrun"}, "make has no option \"--dryrun\"", "did you mean \"--dry-run\"?"},
    {{"make", "x", "--dry_run"}, "make has no option \"--dry_run\"", "did you mean \"--dry-run\"?"},
    {{"make", "x", "--tabel", "a"}, "make has no option \"--tabel\"", "did you mean \"--table\"?"},
    {{"make", "x", "--tabel=a"}, "make has no option \"--tabel\"", "did you mean \"--table\"?"},
    {{"make", "x", "--frobnicate"},
     "make has no option \"--frobnicate\"",
     "\"pgcairn help make\" lists its options"},
    {{"make", "x", "--=5"}, "make has no option \"--\"", "\"pgcairn help make\" lists its options"},
    {{"make", "x", "-=5"}, "make has no option \"-\"", "\"pgcairn help make\" lists its options"},
    {{"make", "x", "--json"},
     "make has no option \"--json\"",
     "it stands before the command: pgcairn --json make ..."},
    {{"make", "x", "-c", "p.yaml"},
     "make has no option \"-c\"",
     "it stands before the command: pgcairn -c FILE|DIR make ..."},
    {{"bare", "--at", "now"},
     "bare has no option \"--at\"",
     "\"pgcairn help bare\" lists its options"},
    {{"make", "-"}, "make(| -)", NULL},
    {{"make", ""}, "make(| )", NULL},
    {{"make", "x", "--", "--at"}, "make(| x --at)", NULL},
    {{"make", "--dry-run", "--", "-x"}, "make(dry-run | -x)", NULL},
    {{"make", "x", "--", "--"}, "make(| x --)", NULL},
    {{"make", "x", "--", "y", "z"}, "make: too many arguments", "usage: pgcairn make NAME [OTHER]"},
    {{"make", "x", "--"}, "make(| x)", NULL},
    {{"make", "--"}, "make: something is missing", "usage: pgcairn make NAME [OTHER]"},
    {{"group", "add", "x"}, "other(| x)", NULL},
    {{"group", "list"}, "other(|)", NULL},
    {{"group", "list", "x"}, "group list: too many arguments", "usage: pgcairn group list "},
    {{"group"},
     "there is no command \"group\"",
     "there are: group add, group list; \"pgcairn help\" lists all"},
    {{"group", "lits"},
     "there is no command \"group lits\"",
     "did you mean \"pgcairn group list\"? \"pgcairn help\" lists all"},
    {{"group", "frobnicate"},
     "there is no command \"group frobnicate\"",
     "\"pgcairn help\" lists the commands"},
    {{"mak", "x"},
     "there is no command \"mak\"",
     "did you mean \"pgcairn make\"? \"pgcairn help\" lists all"},
    {{"frobnicate"}, "there is no command \"frobnicate\"", "\"pgcairn help\" lists the commands"},
    {{""}, "there is no command \"\"", "\"pgcairn help\" lists the commands"},
    {{"help", "mak"},
     "there is no command \"mak\"",
     "did you mean \"pgcairn make\"? \"pgcairn help\" lists all"},
};

static int call(const char *const *words, const struct globals *globals, struct error *err)
{
    char *argv[WORDS_MAX + 1] = {0}, copies[WORDS_MAX][64];
    int argc = 0;
    for (; argc < WORDS_MAX && words[argc]; argc++) {
        snprintf(copies[argc], sizeof(copies[argc]), "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    buf_clear(&ran);
    buf_init(&ran, 10000);
    *err = ERROR_NONE;
    return command_dispatch(globals, argc, argv, err);
}

static void test_calls(void **state)
{
    (void)state;
    struct globals globals = {0};
    for (size_t i = 0; i < ARRAY_SIZE(CALLS); i++) {
        struct error err;
        int rc = call(CALLS[i].argv, &globals, &err);
        const char *got = rc ? err.message : buf_text(&ran);
        if (rc != (CALLS[i].hint ? ERR_USAGE : 0) || strcmp(got, CALLS[i].expected) != 0 ||
            (rc && strcmp(err.hint, CALLS[i].hint) != 0) || (rc && ran.length))
            fail_msg("row %zu, %s ...: %s: %s (%s)", i, CALLS[i].argv[0], error_code_name(rc), got,
                     err.hint);
    }
    buf_clear(&ran);
}

static void test_result_comes_back(void **state)
{
    (void)state;
    struct globals globals = {.quiet = true};
    struct error err;
    assert_int_equal(call((const char *const[]){"bare", NULL}, &globals, &err), ERR_BUSY);
    assert_string_equal(err.message, "told to fail");
    buf_clear(&ran);
    assert_int_equal(command_verdict(ERR_FAILED, &err), ERR_FAILED);
    assert_string_equal(err.message, ""); /* so that main() prints nothing */
    assert_int_equal(command_verdict(0, &err), 0);
}

/* What is printed on stdout while a call runs. */
static void capture(const char *const *words, struct buf *ret_output)
{
    char path[] = "/tmp/pgcairn-command-XXXXXX";
    struct globals globals = {0};
    struct error err;
    fflush(stdout);
    int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), fd = mkostemp(path, O_CLOEXEC);
    dup2(fd, STDOUT_FILENO);
    int rc = call(words, &globals, &err);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(fd);
    buf_init(ret_output, 100000);
    int read_rc = file_read(path, ret_output, &err);
    unlink(path);
    assert_int_equal(rc, 0);
    assert_int_equal(read_rc, 0);
    assert_int_equal(ran.length, 0); /* help runs nothing */
    buf_clear(&ran);
}

static void test_help(void **state)
{
    (void)state;
    static const char MAKE[] = "pgcairn make: makes one\n"
                               "\n"
                               "usage: pgcairn make NAME [OTHER]\n"
                               "\n"
                               "  --at TIME                  when\n"
                               "  --table PATTERN            what\n"
                               "  --dry-run                  only tell\n"
                               "  -n N                       how many\n"
                               "  -a                         all\n"
                               "\n"
                               "examples:\n"
                               "  pgcairn make x\n";
    static const char BARE[] = "pgcairn bare: does\n\nusage: pgcairn bare \n";
    static const struct {
        const char *argv[WORDS_MAX];
        const char *expected; /* NULL: the list of all commands */
    } ROWS[] = {
        {{"help", "make"}, MAKE},
        {{"make", "--help"}, MAKE},
        {{"make", "x", "--frobnicate", "--help"}, MAKE},
        {{"help", "bare", "more"}, BARE},
        {{"help"}, NULL},
        {{"--help"}, NULL},
        {{NULL}, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct buf output;
        capture(ROWS[i].argv, &output);
        const char *text = buf_text(&output);
        bool good = ROWS[i].expected ? strcmp(text, ROWS[i].expected) == 0
                                     : strstr(text, "usage: pgcairn [-c FILE|DIR]") == text &&
                                           strstr(text, "\n  group add                  adds\n");
        if (!good)
            fail_msg("row %zu: %s", i, text);
        buf_clear(&output);
    }
}

/* "--help" behind "--" belongs to somebody else. */
static void test_help_behind_dashes(void **state)
{
    (void)state;
    struct globals globals = {0};
    struct error err;
    assert_int_equal(call((const char *const[]){"make", "x", "--", "--help", NULL}, &globals, &err),
                     0);
    assert_string_equal(buf_text(&ran), "make(| x --help)");
    buf_clear(&ran);
}

/* Of "wal fetch" any status from 1 to 125 would tell PostgreSQL that WAL has ended. */
static void test_what_a_restore_command_tells(void **state)
{
    (void)state;
    static const struct {
        const char *words[6];
        int code, settled;
    } ROWS[] = {
        {{"pgcairn", "wal", "fetch", "shop"}, 0, 0},
        {{"pgcairn", "wal", "fetch", "shop"}, ERR_NOT_FOUND, ERR_NOT_FOUND},
        {{"pgcairn", "wal", "fetch", "shop"}, ERR_USAGE, ERR_DOUBT},
        {{"pgcairn", "wal", "fetch", "shop"}, ERR_POLICY, ERR_DOUBT},
        {{"pgcairn", "wal", "fetch", "shop"}, ERR_INTERRUPTED, ERR_DOUBT},
        {{"pgcairn", "-x", "wal", "fetch", "shop"}, ERR_USAGE, ERR_DOUBT},
        {{"pgcairn", "wal", "fetch", "shop", "--standby"}, ERR_DOUBT, ERR_FAILED},
        {{"pgcairn", "wal", "fetch", "shop", "--standby"}, ERR_NOT_FOUND, ERR_NOT_FOUND},
        {{"pgcairn", "wal", "push", "shop"}, ERR_USAGE, ERR_USAGE},
        {{"pgcairn", "fetch", "wal"}, ERR_USAGE, ERR_USAGE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        char *words[6];
        int count = 0;
        for (; count < 6 && ROWS[i].words[count]; count++)
            words[count] = strdup(ROWS[i].words[count]);
        struct error error = {.code = ROWS[i].code};
        int settled = command_settle(count, words, ROWS[i].code, &error);
        if (settled != ROWS[i].settled || error.code != ROWS[i].settled)
            fail_msg("row %zu: %s", i, error_code_name(settled));
        if (ROWS[i].code == ERR_USAGE && settled != ERR_USAGE)
            assert_non_null(
                strstr(error.hint, "pgcairn help")); /* the cure is still that of usage */
        while (count > 0)
            free(words[--count]);
    }
}

static void test_print_json(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    assert_int_equal(command_print_json(NULL, &err), ERR_MEMORY);
    fflush(stdout);
    int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3),
        full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    dup2(full, STDOUT_FILENO);
    int rc = command_print_json(json_pack("{s:i}", "a", 1), &err);
    dup2(saved, STDOUT_FILENO);
    clearerr(stdout);
    close(full);
    close(saved);
    assert_int_equal(rc, ERR_NO_SPACE);
    assert_string_equal(err.message, "could not write to stdout: No space left on device");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),      cmocka_unit_test(test_result_comes_back),
        cmocka_unit_test(test_help),       cmocka_unit_test(test_help_behind_dashes),
        cmocka_unit_test(test_print_json), cmocka_unit_test(test_what_a_restore_command_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
