/* A repository in a fresh folder, for the tests of this folder. */
#ifndef PGCAIRN_TESTS_REPOSITORY_FIXTURE_H
#define PGCAIRN_TESTS_REPOSITORY_FIXTURE_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "repository/backup.h"
#include "repository/manifest.h"
#include "repository/repository.h"
#include "remove_tree.h"

#define assert_ok(expression)                                                          \
    do {                                                                               \
        struct error *_err = &fixture_err;                                             \
        *_err = ERROR_NONE;                                                            \
        int _rc = (expression);                                                        \
        if (_rc)                                                                       \
            fail_msg("%s: %s (%s)", #expression, _err->message, error_code_name(_rc)); \
    } while (0)

#define assert_fails(expression, code, text)                                         \
    do {                                                                             \
        fixture_err = ERROR_NONE;                                                    \
        assert_int_equal((expression), (code));                                      \
        if (!strstr(fixture_err.message, (text)))                                    \
            fail_msg("\"%s\" does not contain \"%s\"", fixture_err.message, (text)); \
    } while (0)

static _Thread_local struct error fixture_err;
static char fixture_root[64];

static inline int fixture_setup(void **state)
{
    struct repository *repository = NULL;
    char url[128];
    snprintf(fixture_root, sizeof(fixture_root), "/tmp/pgcairn-repository-XXXXXX");
    if (!mkdtemp(fixture_root))
        return -1;
    snprintf(url, sizeof(url), "file://%s/r", fixture_root);
    if (repository_open(url, NULL, "shop", &repository, &fixture_err) ||
        repository_prepare(repository, &fixture_err))
        return -1;
    *state = repository;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    repository_free(*state);
    remove_tree(fixture_root);
    return 0;
}

#define FIXTURE_TEST(function) \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

static inline const char *fixture_path(const char *key)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/r/%s", fixture_root, key);
    return path;
}

static inline void fixture_put(struct repository *repository, const char *key, const char *text)
{
    assert_ok(store_put(repository->store, key, text, strlen(text), 0, &fixture_err));
}

/* Makes an object as old as that. */
static inline void fixture_set_time(const char *key, int64_t us)
{
    struct timespec time = {.tv_sec = us / US_PER_SECOND, .tv_nsec = us % US_PER_SECOND * 1000};
    struct timespec times[2] = {time, time};
    assert_int_equal(utimensat(AT_FDCWD, fixture_path(key), times, 0), 0);
}

static inline int fixture_gather(const struct store_object *object, void *context,
                                 struct error *err)
{
    (void)err;
    assert_int_equal(buf_addf(context, "%s\n", object->key), 0);
    return 0;
}

static inline void assert_objects(struct repository *repository, const char *prefix,
                                  const char *expected)
{
    struct buf keys = BUF_INIT(1 << 20);
    assert_ok(store_list(repository->store, prefix, false, fixture_gather, &keys, &fixture_err));
    assert_string_equal(buf_text(&keys), expected);
    buf_clear(&keys);
}

static inline json_t *fixture_manifest(const char *id, int64_t started_us)
{
    json_t *manifest =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:{s:s, s:i}, s:i, s:i, s:[{s:s, s:i}],"
                  " s:[{s:s}, {s:s}]}",
                  "format", 1, "kind", "dump", "id", id, "cluster", "shop", "job", "nightly",
                  "run_id", "run-1", "started_at", json_instant(started_us), "completed_at",
                  json_instant(started_us + US_PER_MINUTE), "server", "version", "15.4",
                  "version_num", 150004, "bytes_source", 1000, "bytes_stored", 300, "objects",
                  "name", "restore.sh", "size", 300, "databases", "name", "web", "name", "app");
    assert_non_null(manifest);
    return manifest;
}

static inline void fixture_begin(struct repository *repository, const char *id, int64_t started_us)
{
    struct started started = {
        .kind = BACKUP_DUMP, .job = "nightly", .run_id = "run-1", .started_us = started_us};
    memcpy(started.id, id, ID_SIZE);
    assert_ok(backup_begin(repository, &started, &fixture_err));
}

/* A whole backup with two data objects of 5 bytes each. */
static inline void fixture_backup(struct repository *repository, const char *id, int64_t started_us)
{
    char key[STORE_KEY_MAX + 1];
    json_t *manifest = fixture_manifest(id, started_us);
    fixture_begin(repository, id, started_us);
    assert_ok(repository_backup_key(repository, BACKUP_DUMP, id, "16384/data-0001.tar.zst", key,
                                    &fixture_err));
    fixture_put(repository, key, "12345");
    assert_ok(repository_backup_key(repository, BACKUP_DUMP, id, "restore.sh", key, &fixture_err));
    fixture_put(repository, key, "12345");
    assert_ok(manifest_write(repository, BACKUP_DUMP, id, manifest, &fixture_err));
    json_decref(manifest);
}

#endif
