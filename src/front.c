/*
 * pgcairn-wal: what archive_command and restore_command call. The same as "pgcairn wal", which it
 * becomes when there is work to do; a file that was stored or fetched ahead of its turn is answered
 * here, in a fraction of the time that opening the libraries takes.
 *
 *     archive_command = 'pgcairn-wal push CLUSTER %p'
 *     restore_command = 'pgcairn-wal fetch CLUSTER %f %p'
 */
#include <errno.h>
#include <string.h>

#include "base/state.h"
#include "spool/ahead.h"
#include "spool/server.h"

enum { EXIT_PUSH_FAILED = 1, EXIT_USAGE = 2, EXIT_STOP_RECOVERY = 126 };
enum { PUSH_WORDS = 3, FETCH_WORDS = 4, WORDS_MAX = 1000 };

/* The file's mark says that it is stored. */
static bool was_pushed(char *const *paths, size_t count, char **words)
{
    const char *cluster = words[1], *file = words[2];
    _cleanup_(freep) char *state = NULL;
    char folder[MARKS_PATH_MAX], naming[MARKS_PATH_MAX];
    char data[SERVER_PATH_MAX], system[SERVER_SYSTEM_SIZE];
    struct mark mark;
    if (marks_naming(paths, count, naming, NULL) || state_folder(&state, NULL) ||
        marks_folder(state, cluster, folder, NULL) || server_data_folder(file, data, NULL) ||
        server_read_system(data, system, NULL) || marks_file(file, &mark, NULL))
        return false;
    struct marks_origin origin = {.system = system, .naming = naming};
    return marks_hold(folder, &origin, &mark);
}

/* The segment lies in the spool, proved and marked, and is put in its place. */
static bool is_fetched(char *const *paths, size_t count, char **words)
{
    const char *cluster = words[1], *destination = words[3];
    _cleanup_(freep) char *state = NULL;
    char naming[MARKS_PATH_MAX], data[SERVER_PATH_MAX], system[SERVER_SYSTEM_SIZE];
    struct wal_name name;
    if (!wal_name_parse(words[2], &name) || name.kind != WAL_SEGMENT ||
        state_folder(&state, NULL) || server_data_folder(destination, data, NULL) ||
        server_read_system(data, system, NULL) || ahead_naming(paths, count, data, naming, NULL))
        return false;
    struct marks_origin origin = {.system = system, .naming = naming};
    return ahead_take(state, cluster, &origin, &name, destination);
}

/* argv[1..] is [-c PATH]... push CLUSTER FILE, or fetch CLUSTER NAME DEST [--standby]. */
static bool is_done(int argc, char **argv)
{
    char *paths[WORDS_MAX];
    size_t count = 0;
    int i = 1;
    for (; i + 1 < argc && strcmp(argv[i], "-c") == 0; i += 2)
        paths[count++] = argv[i + 1];
    if (argc - i == FETCH_WORDS + 1 && strcmp(argv[argc - 1], "--standby") == 0)
        argc--;
    if (argc - i == PUSH_WORDS && strcmp(argv[i], "push") == 0)
        return was_pushed(paths, count, argv + i);
    if (argc - i == FETCH_WORDS && strcmp(argv[i], "fetch") == 0)
        return is_fetched(paths, count, argv + i);
    return false;
}

/* The program that lies beside this one, or else the one on PATH. */
static void find_program(char path[SERVER_PATH_MAX])
{
    static const char NAME[] = "pgcairn";
    ssize_t length = readlink("/proc/self/exe", path, SERVER_PATH_MAX - sizeof(NAME) - 1);
    while (length > 0 && path[length - 1] != '/')
        length--;
    memcpy(path + (length > 0 ? length : 0), NAME, sizeof(NAME));
    if (length <= 0 || access(path, X_OK) != 0)
        memcpy(path, NAME, sizeof(NAME));
}

/* The global options stay in front of "wal". */
static int become_pgcairn(int argc, char **argv)
{
    char *words[WORDS_MAX + 2];
    char path[SERVER_PATH_MAX];
    int i = 1, count = 0;
    find_program(path);
    words[count++] = path;
    for (; i < argc && argv[i][0] == '-'; i++) {
        words[count++] = argv[i];
        if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
            words[count++] = argv[++i];
    }
    bool is_push = i < argc && strcmp(argv[i], "push") == 0;
    char wal[] = "wal";
    words[count++] = wal;
    for (; i < argc; i++)
        words[count++] = argv[i];
    words[count] = NULL;
    execvp(path, words);
    fprintf(stderr, "pgcairn: could not start \"%s\": %s\n  hint: install it beside pgcairn-wal\n",
            path, strerror(errno));
    return is_push ? EXIT_PUSH_FAILED : EXIT_STOP_RECOVERY;
}

int main(int argc, char **argv)
{
    if (argc > WORDS_MAX) {
        fprintf(stderr, "pgcairn: more than %d arguments\n", WORDS_MAX);
        return EXIT_USAGE;
    }
    return is_done(argc, argv) ? 0 : become_pgcairn(argc, argv);
}
