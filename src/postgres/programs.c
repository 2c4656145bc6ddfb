#include "postgres/programs.h"

#include <string.h>

#include "base/child.h"
#include "base/units.h"

enum { NEWEST_MAJOR = 40, VERSION_TEXT_LIMIT = 4096 };

void pg_programs_clear(struct pg_programs *programs)
{
    free(programs->folder);
    *programs = (struct pg_programs){0};
}

/* The major version that FOLDER/pg_dump tells, 0 when it can't be run. */
static int probe(const char *folder)
{
    _cleanup_(freep) char *path = NULL;
    if (asprintf(&path, "%s/pg_dump", folder) < 0 || access(path, X_OK) != 0)
        return 0;
    _cleanup_(buf_clear) struct buf output = BUF_INIT(VERSION_TEXT_LIMIT);
    const char *argv[] = {path, "--version", NULL};
    struct child_spec spec = {.argv = argv};
    if (child_run(&spec, &output, NULL))
        return 0;
    const char *number = strpbrk(buf_text(&output), "0123456789");
    int64_t major = 0;
    return number && number_take(&number, &major) ? (int)major : 0;
}

static int accept(const char *folder, int major, struct pg_programs *ret_programs,
                  struct error *err)
{
    char *copy = strdup(folder);
    if (!copy)
        return error_no_memory(err);
    *ret_programs = (struct pg_programs){.folder = copy, .major = major};
    return 0;
}

static int find_in_given(const char *bindir, int server_major, struct pg_programs *ret_programs,
                         struct error *err)
{
    int major = probe(bindir);
    if (major >= server_major)
        return accept(bindir, major, ret_programs, err);
    if (major == 0)
        error_set(err, ERR_FAILED, "there is no pg_dump that runs in bindir \"%s\"", bindir);
    else
        error_set(err, ERR_FAILED,
                  "pg_dump in \"%s\" is version %d, older than the server (PostgreSQL %d)", bindir,
                  major, server_major);
    return error_hint(err,
                      "install the package postgresql-client-%d, or set bindir: auto in the "
                      "policy",
                      server_major);
}

static int find_on_path(int server_major, int *newest_seen, struct pg_programs *ret_programs,
                        struct error *err)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t length = strcspn(path, ":");
        _cleanup_(freep) char *folder = strndup(path, length);
        if (!folder)
            return error_no_memory(err);
        int major = probe(folder);
        if (major >= server_major)
            return accept(folder, major, ret_programs, err);
        if (major > *newest_seen)
            *newest_seen = major;
        path += length + (path[length] == ':');
    }
    return ERR_NOT_FOUND;
}

int pg_find_programs(const char *bindir, int server_major, struct pg_programs *ret_programs,
                     struct error *err)
{
    if (strcmp(bindir, "auto") != 0)
        return find_in_given(bindir, server_major, ret_programs, err);
    static const char *const PLACES[] = {"/usr/lib/postgresql/", "/usr/pgsql-"};
    int newest_seen = 0;
    for (int major = server_major; major < NEWEST_MAJOR; major++) {
        for (size_t i = 0; i < ARRAY_SIZE(PLACES); i++) {
            char folder[64];
            snprintf(folder, sizeof(folder), "%s%d/bin", PLACES[i], major);
            if (probe(folder) == major)
                return accept(folder, major, ret_programs, err);
        }
    }
    int rc = find_on_path(server_major, &newest_seen, ret_programs, err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    if (newest_seen)
        error_set(err, ERR_FAILED,
                  "the newest pg_dump found is version %d, older than the server "
                  "(PostgreSQL %d)",
                  newest_seen, server_major);
    else
        error_set(err, ERR_FAILED, "no pg_dump of version %d or newer was found", server_major);
    return error_hint(err, "install the package postgresql-client-%d, or set bindir: in the policy",
                      server_major);
}
