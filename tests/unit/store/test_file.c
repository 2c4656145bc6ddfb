/* The file:// store: the contract, and what is a folder's own. */
#include "contract.h"
#include "remove_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64];

static struct store *contract_open(void)
{
    struct store *store = NULL;
    char url[128];
    snprintf(root, sizeof(root), "/tmp/pgcairn-store-XXXXXX");
    if (!mkdtemp(root))
        return NULL;
    snprintf(url, sizeof(url), "file://%s/repository", root);
    return store_open(url, NULL, &store, &contract_err) ? NULL : store;
}

static void contract_close(struct store *store)
{
    store_free(store);
    remove_tree(root);
}

static const char *path_of(const char *key)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/repository/%s", root, key);
    return path;
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *message; /* NULL: good */
    } ROWS[] = {
        {"file:///srv/pgcairn", NULL},
        {"file:///srv/pgcairn/", NULL},
        {"file://srv/pgcairn", "\"file://srv/pgcairn\" names no absolute folder"},
        {"file://", "\"file://\" names no absolute folder"},
        {"file:////", "\"file:////\" would fill the root of the file system"},
        {"file:///a/../b", "\"file:///a/../b\" may not hold \"..\""},
        {"file:///a/..", "\"file:///a/..\" may not hold \"..\""},
        {"/srv/pgcairn", "\"/srv/pgcairn\" is no repository URL"},
        {"s4://bucket/prefix", "\"s4://bucket/prefix\" is no repository URL"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct error err = ERROR_NONE;
        struct store *store = NULL;
        int rc = store_url_check(ROWS[i].url, &err);
        assert_int_equal(rc, ROWS[i].message ? ERR_USAGE : 0);
        assert_string_equal(err.message, ROWS[i].message ? ROWS[i].message : "");
        assert_int_equal(store_open(ROWS[i].url, NULL, &store, &err), rc);
        if (store)
            assert_string_equal(store_url(store), ROWS[i].url);
        store_free(store);
    }
}

static void test_modes(void **state)
{
    mode_t old = umask(0);
    put_text(*state, "c/globals.sql.zst", "secret");
    umask(old);
    struct stat st;
    assert_int_equal(stat(path_of("c/globals.sql.zst"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(path_of("c"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(path_of(""), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

/* A root of mode 2770 is its group's too, whatever the umask: another user may read and delete. */
static void test_shared_modes(void **state)
{
    assert_int_equal(mkdir(path_of(""), 0700), 0);
    assert_int_equal(chmod(path_of(""), 02770), 0);
    const mode_t masks[] = {0007, 0022, 0077};
    for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
        char key[32];
        struct stat st;
        snprintf(key, sizeof(key), "shared%zu/b/file", i);
        mode_t before = umask(masks[i]);
        put_text(*state, key, "x");
        umask(before);
        assert_int_equal(stat(path_of(key), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0640);
        key[strlen(key) - strlen("/file")] = '\0';
        assert_int_equal(stat(path_of(key), &st), 0);
        assert_int_equal(st.st_mode & 07777, 02770);
        key[strlen(key) - strlen("/b")] = '\0';
        assert_int_equal(stat(path_of(key), &st), 0);
        assert_int_equal(st.st_mode & 07777, 02770);
    }
}

/* Many more entries than a batch: each once, in order, folders among files. */
static void test_large_folder(void **state)
{
    enum { ENTRIES = 20000, BATCH = 64 };
    struct store *store = *state;
    store->list_batch = BATCH;
    put_text(store, "e/00000", "x");
    for (int i = 1; i < ENTRIES; i++) {
        char key[64];
        bool folder = i % 1000 == 0;
        snprintf(key, sizeof(key), "e/%05d", i);
        if (folder) {
            assert_int_equal(mkdir(path_of(key), 0700), 0);
            snprintf(key, sizeof(key), "e/%05d/inner", i);
        }
        int fd = open(path_of(key), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    struct buf keys = BUF_INIT(4 << 20), expected = BUF_INIT(4 << 20);
    for (int i = 0; i < ENTRIES; i++)
        buf_addf(&expected, i > 0 && i % 1000 == 0 ? "e/%05d/inner\n" : "e/%05d\n", i);
    assert_ok(store_list(store, "e/", false, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), buf_text(&expected));
    buf_reset(&keys);
    assert_ok(store_list(store, "e/1234", false, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), "e/12340\ne/12341\ne/12342\ne/12343\ne/12344\ne/12345\n"
                                         "e/12346\ne/12347\ne/12348\ne/12349\n");
    buf_clear(&keys);
    buf_clear(&expected);
}

static void test_symbolic_links(void **state)
{
    struct store *store = *state;
    put_text(store, "a/real", "x");
    assert_int_equal(symlink("real", path_of("a/link")), 0);
    assert_int_equal(symlink("a", path_of("b")), 0);
    struct buf buf = BUF_INIT(100);
    struct store_object object;
    assert_int_equal(store_get(store, "a/link", &buf, &contract_err), ERR_PERMISSION);
    assert_non_null(strstr(contract_err.message, "a/link\" is a symbolic link or device, refused"));
    assert_int_equal(store_get(store, "b/real", &buf, &contract_err), ERR_PERMISSION);
    assert_int_equal(store_stat(store, "a/link", &object, &contract_err), ERR_PERMISSION);
    assert_int_equal(store_put(store, "b/new", "x", 1, 0, &contract_err), ERR_PERMISSION);
    assert_int_equal(store_delete(store, "b/real", &contract_err), ERR_PERMISSION);
    assert_int_equal(store_list(store, "a/", false, gather, &buf, &contract_err), ERR_UNKNOWN);
    assert_int_equal(store_list(store, "b/", false, gather, &buf, &contract_err), ERR_UNKNOWN);
    assert_ok(store_delete(store, "a/link", &contract_err)); /* the link itself, not its target */
    assert_content(store, "a/real", "x");
    buf_clear(&buf);
}

static void test_foreign_files(void **state)
{
    struct store *store = *state;
    put_text(store, "a/1", "x");
    assert_int_equal(mkdir(path_of("lost+found"), 0), 0);
    assert_int_equal(mkdir(path_of("empty"), 0700), 0);
    int fd = open(path_of(".DS_Store"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_listing(store, "", false, "a/1\n");
    assert_listing(store, "", true, "a/\n");
    assert_int_equal(mkfifo(path_of("a/pipe"), 0600), 0);
    struct buf buf = BUF_INIT(100);
    assert_int_equal(store_get(store, "a/pipe", &buf, &contract_err), ERR_PERMISSION);
    assert_int_equal(store_list(store, "", false, gather, &buf, &contract_err), ERR_UNKNOWN);
    buf_clear(&buf);
}

/* Runs `work` in a child without root's privileges, or as we are; returns its exit status. */
static int in_child(int (*work)(struct store *), struct store *store, bool as_nobody)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (as_nobody && getuid() == 0 && (chown(root, 65534, 65534) || setuid(65534)))
            _exit(99);
        _exit(work(store));
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int try_unreadable(struct store *store)
{
    struct error err = ERROR_NONE;
    if (store_put(store, "a/1", "x", 1, 0, &err) || store_put(store, "b/1", "x", 1, 0, &err))
        return 1;
    if (chmod(path_of("b"), 0))
        return 2;
    struct buf buf = BUF_INIT(1000);
    if (store_list(store, "", false, gather, &buf, &err) != ERR_UNKNOWN ||
        !strstr(err.message, "could not list"))
        return 3;
    if (store_list(store, "b/", false, gather, &buf, &err) != ERR_UNKNOWN)
        return 4;
    if (store_put(store, "b/2", "x", 1, 0, &err) != ERR_PERMISSION || !err.hint[0])
        return 5;
    if (chmod(path_of("b"), 0700))
        return 6;
    buf_clear(&buf);
    return 0;
}

static void test_unreadable_folder(void **state)
{
    assert_int_equal(in_child(try_unreadable, *state, true), 0);
}

/* kill -9 between the last write and the commit: nothing to see but a leftover with its key. */
static int write_and_die(struct store *store)
{
    struct store_writer *writer = NULL;
    if (store_create(store, "c/dumps/1", 0, &writer, NULL) || store_write(writer, "x", 1, NULL))
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

static void test_killed_writer(void **state)
{
    struct store *store = *state;
    assert_int_equal(in_child(write_and_die, store, false), 128 + SIGKILL);
    assert_listing(store, "", false, "");
    struct buf keys = BUF_INIT(1000);
    assert_ok(store_list_unfinished(store, INT64_MAX, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), "c/dumps/1\n");
    assert_ok(store_remove_unfinished(store, "c/dumps/1", INT64_MAX, &contract_err));
    buf_reset(&keys);
    assert_ok(store_list_unfinished(store, INT64_MAX, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), "");
    buf_clear(&keys);
}

/* 0 when a write into a full file system ended as it must; 77 when none could be made. */
static int fill_file_system(struct store *store)
{
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        (mkdir(path_of(""), 0700) && errno != EEXIST) ||
        mount("tmpfs", path_of(""), "tmpfs", 0, "size=4m"))
        return 77;
    struct error err = ERROR_NONE;
    struct store_writer *writer = NULL;
    static char block[1 << 20];
    int rc = store_create(store, "c/full", 0, &writer, &err);
    for (int i = 0; i < 8 && !rc; i++)
        rc = store_write(writer, block, sizeof(block), &err);
    if (rc != ERR_NO_SPACE || !strstr(err.message, "No space left") || !strstr(err.hint, "free"))
        return 1;
    if (store_commit(writer, NULL, &err) != ERR_FAILED)
        return 2;
    store_writer_free(writer);
    struct buf keys = BUF_INIT(1000);
    if (store_list_unfinished(store, INT64_MAX, gather, &keys, &err) || keys.length > 0)
        return 3;
    if (store_put(store, "c/small", "fits again", 10, 0, &err))
        return 4;
    return 0;
}

static void test_disk_full(void **state)
{
    int status = in_child(fill_file_system, *state, false);
    if (status == 77) {
        print_message("no right to mount a small file system: skipped\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* A limit of the file size is one more way in which write(2) fails half-way. */
static int exceed_file_size(struct store *store)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit))
        return 77;
    static char block[3 << 20];
    struct error err = ERROR_NONE;
    if (store_put(store, "c/large", block, sizeof(block), 0, &err) != ERR_IO)
        return 1;
    struct buf keys = BUF_INIT(1000);
    if (store_list(store, "", false, gather, &keys, &err) || keys.length > 0)
        return 2;
    return store_list_unfinished(store, INT64_MAX, gather, &keys, &err) || keys.length > 0 ? 3 : 0;
}

static void test_file_size_limit(void **state)
{
    assert_int_equal(in_child(exceed_file_size, *state, false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS,
        cmocka_unit_test(test_urls),
        CONTRACT_TEST(test_modes),
        CONTRACT_TEST(test_shared_modes),
        CONTRACT_TEST(test_large_folder),
        CONTRACT_TEST(test_symbolic_links),
        CONTRACT_TEST(test_foreign_files),
        CONTRACT_TEST(test_unreadable_folder),
        CONTRACT_TEST(test_killed_writer),
        CONTRACT_TEST(test_disk_full),
        CONTRACT_TEST(test_file_size_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
