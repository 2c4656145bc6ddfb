#include "postgres/programs.h"

#include <string.h>

#include "base/child.h"
#include "base/units.h"

enum { NEWEST_MAJOR = 40, VERSION_TEXT_LIMIT = 4096 };

static const char PG_DUMP[] = "pg_dump";

void pg_programs_clear(struct pg_programs *programs)
{
    free(programs->folder);
    *programs = (struct pg_programs){0};
}

/* A program that is looked for, of that major version, or when !exact of the oldest that is not
 * older. */
struct search {
    const char *program;
    int major;
    bool exact;
    int newest_seen; /* on the PATH; 0: none */
};

/* The major version that FOLDER/PROGRAM tells, 0 when it can't be run. */
static int probe(const char *folder, const char *program)
{
    _cleanup_(freep) char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, program) < 0 || access(path, X_OK) != 0)
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

static bool fits(const struct search *search, int found)
{
    return search->exact ? found == search->major : found >= search->major;
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
    int major = probe(bindir, PG_DUMP);
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

static int find_on_path(struct search *search, struct pg_programs *ret_programs, struct error *err)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t length = strcspn(path, ":");
        _cleanup_(freep) char *folder = strndup(path, length);
        if (!folder)
            return error_no_memory(err);
        int major = probe(folder, search->program);
        if (fits(search, major))
            return accept(folder, major, ret_programs, err);
        if (major > search->newest_seen)
            search->newest_seen = major;
        path += length + (path[length] == ':');
    }
    return ERR_NOT_FOUND;
}

/* Where packages put them, then on the PATH; ERR_NOT_FOUND is for the caller to say in words. */
static int find(struct search *search, struct pg_programs *ret_programs, struct error *err)
{
    static const char *const PLACES[] = {"/usr/lib/postgresql/", "/usr/pgsql-"};
    int end = search->exact ? search->major + 1 : NEWEST_MAJOR;
    for (int major = search->major; major < end; major++) {
        for (size_t i = 0; i < ARRAY_SIZE(PLACES); i++) {
            char folder[64];
            snprintf(folder, sizeof(folder), "%s%d/bin", PLACES[i], major);
            if (probe(folder, search->program) == major)
                return accept(folder, major, ret_programs, err);
        }
    }
    return find_on_path(search, ret_programs, err);
}

int pg_find_programs(const char *bindir, int server_major, struct pg_programs *ret_programs,
                     struct error *err)
{
    struct search search = {.program = PG_DUMP, .major = server_major};
    if (strcmp(bindir, "auto") != 0)
        return find_in_given(bindir, server_major, ret_programs, err);
    int rc = find(&search, ret_programs, err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    if (search.newest_seen)
        error_set(err, ERR_FAILED,
                  "the newest pg_dump found is version %d, older than the server "
                  "(PostgreSQL %d)",
                  search.newest_seen, server_major);
    else
        error_set(err, ERR_FAILED, "no pg_dump of version %d or newer was found", server_major);
    return error_hint(err, "install the package postgresql-client-%d, or set bindir: in the policy",
                      server_major);
}

int pg_find_server_programs(const char *bindir, int major, bool exact,
                            struct pg_programs *ret_programs, struct error *err)
{
    struct search search = {.program = "postgres", .major = major, .exact = exact};
    int given = strcmp(bindir, "auto") != 0 ? probe(bindir, search.program) : 0;
    if (given && fits(&search, given))
        return accept(bindir, given, ret_programs, err);
    int rc = find(&search, ret_programs, err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    error_set(err, ERR_FAILED, "no server program of PostgreSQL %d%s was found", major,
              exact ? "" : " or newer");
    return error_hint(err, "install the package postgresql-%d, or set bindir: in the policy",
                      major);
}
