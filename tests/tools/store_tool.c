/*
 * Drives one store from the command line, so that tests can do one operation of src/store in a
 * process of its own: through a proxy, beside others, killed in the middle. Never installed.
 *
 *     store_tool [OPTION...] URL put KEY FILE            FILE - is stdin
 *     store_tool [OPTION...] URL get KEY [FILE]          prints size and sha256 as put does
 *     store_tool [OPTION...] URL stat KEY
 *     store_tool [OPTION...] URL list [PREFIX]
 *     store_tool [OPTION...] URL delete KEY...           several: store_delete_many()
 *     store_tool [OPTION...] URL unfinished
 *     store_tool [OPTION...] URL remove-unfinished KEY
 *     store_tool [OPTION...] URL traits
 *
 * Options are "--name VALUE": the strings of struct store_s3_options, retry-ms, addressing,
 * object-lock, retain-s, offset and length (of get); and the flags --if-absent, --retain,
 * --delimiter. Keys come from the AWS_* variables. stdout has "name: value" lines, or a line per
 * object. An error is told as pgcairn tells it, and then "code: NAME" by its name in JSON; the exit
 * status is that of the code.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "base/file.h"
#include "base/units.h"
#include "store/sha256.h"
#include "store/store.h"

enum { BUFFER = 1 << 20, KEYS_MAX = 100000 };

struct tool {
    struct store_options options;
    int64_t offset, length;
    unsigned flags;
    bool delimiter;
    struct store *store;
    int arg_count;
    char **args; /* behind the command */
};

/* -- options -------------------------------------------------------------------------------------
 */

#define S3(field) offsetof(struct store_s3_options, field)

static const struct {
    const char *name;
    size_t offset;
} STRINGS[] = {
    {"--endpoint", S3(endpoint)}, {"--region", S3(region)},
    {"--ca-file", S3(ca_file)},   {"--storage-class", S3(storage_class)},
    {"--sse", S3(sse)},           {"--kms-key-id", S3(kms_key_id)},
    {"--tags", S3(tags)},
};

static const struct {
    const char *name, *value;
    enum store_addressing addressing;
    enum store_lock_mode lock;
} WORDS[] = {
    {"--addressing", "path", STORE_ADDRESSING_PATH, STORE_LOCK_OFF},
    {"--addressing", "virtual", STORE_ADDRESSING_VIRTUAL, STORE_LOCK_OFF},
    {"--object-lock", "governance", STORE_ADDRESSING_AUTO, STORE_LOCK_GOVERNANCE},
    {"--object-lock", "compliance", STORE_ADDRESSING_AUTO, STORE_LOCK_COMPLIANCE},
};

static bool take_flag(struct tool *tool, const char *name)
{
    if (strcmp(name, "--if-absent") == 0)
        tool->flags |= STORE_IF_ABSENT;
    else if (strcmp(name, "--retain") == 0)
        tool->flags |= STORE_RETAIN;
    else if (strcmp(name, "--delimiter") == 0)
        tool->delimiter = true;
    else
        return false;
    return true;
}

static bool take_word(struct store_s3_options *s3, const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_SIZE(WORDS); i++) {
        if (strcmp(WORDS[i].name, name) != 0 || strcmp(WORDS[i].value, value) != 0)
            continue;
        if (WORDS[i].lock != STORE_LOCK_OFF)
            s3->object_lock = WORDS[i].lock;
        else
            s3->addressing = WORDS[i].addressing;
        return true;
    }
    return false;
}

static int take_number(struct tool *tool, const char *name, const char *value, struct error *err)
{
    const struct {
        const char *name;
        int64_t *to, unit;
    } NUMBERS[] = {
        {"--retry-ms", &tool->options.s3.retry_us, US_PER_SECOND / 1000},
        {"--retain-s", &tool->options.s3.retain_us, US_PER_SECOND},
        {"--offset", &tool->offset, 1},
        {"--length", &tool->length, 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(NUMBERS); i++) {
        int64_t number;
        if (strcmp(NUMBERS[i].name, name) != 0)
            continue;
        int rc = number_parse(value, name, 0, INT64_MAX / NUMBERS[i].unit, &number, err);
        if (!rc)
            *NUMBERS[i].to = number * NUMBERS[i].unit;
        return rc;
    }
    return error_set(err, ERR_USAGE, "no option \"%s %s\"", name, value);
}

static int take_option(struct tool *tool, const char *name, const char *value, struct error *err)
{
    struct store_s3_options *s3 = &tool->options.s3;
    for (size_t i = 0; i < ARRAY_SIZE(STRINGS); i++) {
        if (strcmp(STRINGS[i].name, name) != 0)
            continue;
        *(const char **)((char *)s3 + STRINGS[i].offset) = value;
        return 0;
    }
    return take_word(s3, name, value) ? 0 : take_number(tool, name, value, err);
}

static int take_options(struct tool *tool, int argc, char **argv, int *ret_next, struct error *err)
{
    int i = 1;
    while (i < argc && strncmp(argv[i], "--", 2) == 0) {
        if (take_flag(tool, argv[i])) {
            i++;
            continue;
        }
        if (i + 1 >= argc)
            return error_set(err, ERR_USAGE, "option \"%s\" needs a value", argv[i]);
        int rc = take_option(tool, argv[i], argv[i + 1], err);
        if (rc)
            return rc;
        i += 2;
    }
    *ret_next = i;
    return 0;
}

/* -- objects -------------------------------------------------------------------------------------
 */

static void print_sum(int64_t size, const char *sha256)
{
    printf("size: %" PRId64 "\nsha256: %s\n", size, sha256);
}

static int copy_in(struct store_writer *writer, int fd, const char *path, struct error *err)
{
    _cleanup_(freep) char *buffer = malloc(BUFFER);
    if (!buffer)
        return error_no_memory(err);
    for (;;) {
        ssize_t n = read(fd, buffer, BUFFER);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "could not read \"%s\"", path);
        if (n == 0)
            return 0;
        int rc = store_write(writer, buffer, (size_t)n, err);
        if (rc)
            return rc;
    }
}

static int run_put(struct tool *tool, struct error *err)
{
    const char *key = tool->args[0], *path = tool->args[1];
    bool is_stdin = strcmp(path, "-") == 0;
    _cleanup_(closep) int fd = is_stdin ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_(store_writer_freep) struct store_writer *writer = NULL;
    struct store_object object;
    if (!is_stdin && fd < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", path);
    int rc = store_create(tool->store, key, tool->flags, &writer, err);
    if (!rc)
        rc = copy_in(writer, is_stdin ? STDIN_FILENO : fd, path, err);
    if (!rc)
        rc = store_commit(writer, &object, err);
    if (!rc)
        print_sum(object.size, object.sha256);
    return rc;
}

static int copy_out(struct store_reader *reader, int fd, const char *path, struct error *err)
{
    _cleanup_(sha256_freep) struct sha256 *hash = NULL;
    _cleanup_(freep) char *buffer = malloc(BUFFER);
    char text[SHA256_HEX + 1];
    int64_t size = 0;
    size_t n = 1;
    int rc = buffer ? sha256_new(&hash, err) : error_no_memory(err);
    while (!rc && n > 0) {
        rc = store_read(reader, buffer, BUFFER, &n, err);
        if (!rc)
            rc = sha256_add(hash, buffer, n, err);
        if (!rc && fd >= 0)
            rc = file_write_all(fd, path, buffer, n, err);
        size += (int64_t)n;
    }
    if (!rc)
        rc = sha256_end(hash, text, err);
    if (!rc)
        print_sum(size, text);
    return rc;
}

static int run_get(struct tool *tool, struct error *err)
{
    const char *path = tool->arg_count > 1 ? tool->args[1] : NULL;
    _cleanup_(closep) int fd = -1;
    _cleanup_(store_reader_freep) struct store_reader *reader = NULL;
    int rc = store_read_open(tool->store, tool->args[0], tool->offset, tool->length, &reader, err);
    if (rc)
        return rc;
    if (path)
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (path && fd < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", path);
    return copy_out(reader, fd, path, err);
}

static int run_stat(struct tool *tool, struct error *err)
{
    struct store_object object;
    char until[INSTANT_TEXT_MAX] = "";
    int rc = store_stat(tool->store, tool->args[0], &object, err);
    if (rc)
        return rc;
    if (object.locked_until_us != INSTANT_NONE)
        instant_format(object.locked_until_us, until);
    printf("size: %" PRId64 "\nlocked until: %s\n", object.size, until);
    return 0;
}

static int print_object(const struct store_object *object, void *context, struct error *err)
{
    (void)context;
    (void)err;
    printf("%" PRId64 " %s\n", object->size, object->key);
    return 0;
}

static int run_list(struct tool *tool, struct error *err)
{
    const char *prefix = tool->arg_count > 0 ? tool->args[0] : "";
    return store_list(tool->store, prefix, tool->delimiter, print_object, NULL, err);
}

static void print_error(const struct error *err)
{
    fprintf(stderr, "store_tool: %s\n", err->message);
    if (error_cure(err)[0])
        fprintf(stderr, "  hint: %s\n", error_cure(err));
    fprintf(stderr, "code: %s\n", error_code_name(err->code));
}

static int note_refused(const char *key, const struct error *reason, void *context,
                        struct error *err)
{
    struct error *first = context;
    (void)err;
    printf("refused: %s\n", key);
    if (!first->code)
        *first = *reason;
    return 0;
}

static int run_delete(struct tool *tool, struct error *err)
{
    struct error refused = ERROR_NONE;
    if (tool->arg_count == 1)
        return store_delete(tool->store, tool->args[0], err);
    int rc = store_delete_many(tool->store, tool->args, (size_t)tool->arg_count, note_refused,
                               &refused, err);
    if (!rc && refused.code)
        *err = refused;
    return rc ? rc : refused.code;
}

static int run_unfinished(struct tool *tool, struct error *err)
{
    return store_list_unfinished(tool->store, INT64_MAX, print_object, NULL, err);
}

static int run_remove_unfinished(struct tool *tool, struct error *err)
{
    return store_remove_unfinished(tool->store, tool->args[0], INT64_MAX, err);
}

static int run_traits(struct tool *tool, struct error *err)
{
    static const char *const VERSIONING[] = {"off", "on", "suspended"};
    static const char *const LOCKS[] = {"off", "governance", "compliance"};
    struct store_traits traits;
    int rc = store_read_traits(tool->store, &traits, err);
    if (rc)
        return rc;
    printf("versioning: %s\nobject lock: %s\n", VERSIONING[traits.versioning],
           traits.object_lock ? "yes" : "no");
    printf("default lock: %s %d\n", LOCKS[traits.default_lock], traits.default_lock_days);
    for (size_t i = 0; i < traits.rule_count; i++) {
        const struct store_rule *rule = &traits.rules[i];
        printf("rule: %s prefix=%s expire=%d noncurrent=%d abort=%d\n", rule->id, rule->prefix,
               rule->expire_days, rule->noncurrent_days, rule->abort_days);
    }
    printf("problems: %s%s%s\n", traits.versioning_problem, traits.lock_problem,
           traits.rules_problem);
    store_traits_clear(&traits);
    return 0;
}

/* -- commands ------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    int fewest, most; /* arguments */
    int (*run)(struct tool *tool, struct error *err);
} COMMANDS[] = {
    {"put", 2, 2, run_put},
    {"get", 1, 2, run_get},
    {"stat", 1, 1, run_stat},
    {"list", 0, 1, run_list},
    {"delete", 1, KEYS_MAX, run_delete},
    {"unfinished", 0, 0, run_unfinished},
    {"remove-unfinished", 1, 1, run_remove_unfinished},
    {"traits", 0, 0, run_traits},
};

static int run(struct tool *tool, int argc, char **argv, struct error *err)
{
    int at = 0;
    int rc = take_options(tool, argc, argv, &at, err);
    if (rc)
        return rc;
    const char *name = at + 1 < argc ? argv[at + 1] : "";
    tool->arg_count = argc - at - 2;
    tool->args = argv + at + 2;
    for (size_t i = 0; i < ARRAY_SIZE(COMMANDS); i++) {
        if (strcmp(COMMANDS[i].name, name) != 0 || tool->arg_count < COMMANDS[i].fewest ||
            tool->arg_count > COMMANDS[i].most)
            continue;
        rc = store_open(argv[at], &tool->options, &tool->store, err);
        return rc ? rc : COMMANDS[i].run(tool, err);
    }
    error_set(err, ERR_USAGE, "\"%s\" is no command with %d arguments", name, tool->arg_count);
    return error_hint(err, "the comment at the top of store_tool.c lists them");
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed socket is an error where it is written */
    struct tool tool = {.length = STORE_READ_TO_END};
    struct error err = ERROR_NONE;
    int rc = run(&tool, argc, argv, &err);
    store_free(tool.store);
    if (rc)
        print_error(&err);
    return error_exit_status(rc);
}
