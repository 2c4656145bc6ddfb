/* Every allocation of base fails once: ERR_MEMORY, nothing lost, nothing leaked. */
#include "case.h"

#include "base/child.h"
#include "base/file.h"
#include "base/queue.h"
#include "base/strv.h"
#include "base/table.h"
#include "base/zone.h"
#include "failing_memory.h"

static int fill_buffer(struct error *err)
{
    _cleanup_(buf_clear) struct buf buf = BUF_INIT(10000);
    for (int i = 0; i < 100; i++)
        buf_addf(&buf, "piece %d of a text, ", i);
    return buf_failed(&buf, "text", err);
}

static int fill_list(struct error *err)
{
    _cleanup_(strv_clear) struct strv list = STRV_INIT(100);
    int rc = 0;
    for (int i = 0; i < 20 && !rc; i++)
        rc = i % 2 ? strv_add(&list, "item", err) : strv_addf(&list, err, "item %d", i);
    return rc;
}

static int fill_table(struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("A|>B", &table, err);
    for (int i = 0; i < 10 && !rc; i++)
        rc = table_row(table, err, "x", "y");
    return rc;
}

static int make_queue(struct error *err)
{
    struct queue *queue = NULL;
    int rc = queue_new(5, &queue, err);
    queue_free(queue, NULL);
    return rc;
}

static int load_zone(struct error *err)
{
    _cleanup_(zone_freep) struct zone *zone = NULL;
    return zone_load("Europe/Berlin", &zone, err);
}

static int replace_file(struct error *err)
{
    return file_replace(case_path("f"), "data", 4, 0600, err);
}

static int make_folders(struct error *err)
{
    rmdir(case_path("a/b"));
    rmdir(case_path("a"));
    return file_make_folders(case_path("a/b"), 0700, err);
}

static int run_child(struct error *err)
{
    static const char *const ENV[] = {"A=b", NULL};
    struct child_spec spec = {.argv = (const char *const[]){"echo", "x", NULL}, .env = ENV};
    _cleanup_(buf_clear) struct buf output = BUF_INIT(100);
    return child_run(&spec, &output, err);
}

static const struct {
    const char *name;
    int (*call)(struct error *err);
} CALLS[] = {
    {"buf", fill_buffer},      {"strv", fill_list},  {"table", fill_table},
    {"queue", make_queue},     {"zone", load_zone},  {"replace", replace_file},
    {"folders", make_folders}, {"child", run_child},
};

static void test_each_allocation(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(CALLS); i++) {
        long n = 0;
        bool was_short;
        do {
            struct error err = ERROR_NONE;
            memory_fails_at(++n, i % 2);
            int rc = CALLS[i / 2].call(&err);
            was_short = memory_was_short();
            if (rc != (was_short ? ERR_MEMORY : 0) || err.code != rc)
                fail_msg("%s, allocation %ld: %s %s", CALLS[i / 2].name, n, error_code_name(rc),
                         err.message);
        } while (was_short);
        if (n < 2)
            fail_msg("%s allocates nothing", CALLS[i / 2].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_allocation)};
    return cmocka_run_group_tests(tests, case_make_folder, case_remove_folder);
}
