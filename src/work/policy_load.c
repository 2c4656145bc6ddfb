#include "work/policy_load.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/suggest.h"
#include "base/zone.h"
#include "policy/connection.h"
#include "policy/problems.h"

enum { PASSWORD_BYTES_MAX = 4096, ZONE_TABLE_BYTES_MAX = 1 << 20, ZONE_NAMES_MAX = 2000 };

struct policy_set {
    struct policy_file *files;
    size_t count;
    const struct policy **policies; /* the good ones */
    size_t policy_count;
};

static int add_paths(const char *path, struct strv *files, struct error *err);
static int load_file(const char *path, struct policy_file *file, struct error *err);
static int refuse_twins(struct policy_set *set, struct error *err);

struct policy_set *policy_set_free(struct policy_set *set)
{
    if (!set)
        return NULL;
    for (size_t i = 0; i < set->count; i++) {
        free(set->files[i].path);
        policy_free(set->files[i].policy);
        policy_problems_clear(&set->files[i].problems);
    }
    free(set->files);
    free(set->policies);
    free(set);
    return NULL;
}

static int find_files(const struct strv *paths, struct strv *files, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < paths->count && !rc; i++)
        rc = add_paths(paths->items[i], files, err);
    if (rc || paths->count > 0)
        return rc;
    const char *path = getenv("PGCAIRN_POLICY");
    return add_paths(path && *path ? path : POLICY_FOLDER, files, err);
}

int policy_set_load_all(const struct strv *paths, struct policy_set **ret_set, struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = calloc(1, sizeof(*set));
    _cleanup_(strv_clear) struct strv files = STRV_INIT(POLICY_SET_MAX);
    if (!set)
        return error_no_memory(err);
    int rc = find_files(paths, &files, err);
    if (rc)
        return rc;
    set->files = calloc(files.count + 1, sizeof(*set->files));
    set->policies = calloc(files.count + 1, sizeof(*set->policies));
    if (!set->files || !set->policies)
        return error_no_memory(err);
    for (size_t i = 0; i < files.count && !rc; i++) {
        set->count++;
        rc = load_file(files.items[i], &set->files[i], err);
    }
    if (!rc)
        rc = refuse_twins(set, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < set->count; i++)
        if (set->files[i].policy)
            set->policies[set->policy_count++] = set->files[i].policy;
    *ret_set = TAKE(set);
    return 0;
}

/* The first error as a line of its own, and how many more there are. */
static int refuse_errors(const struct policy_set *set, struct error *err)
{
    const struct policy_file *first = NULL;
    const struct policy_problem *problem = NULL;
    size_t errors = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct policy_file *file = &set->files[i];
        errors += file->problems.error_count;
        for (size_t k = 0; k < file->problems.count && !problem; k++)
            if (!file->problems.items[k].is_warning) {
                first = file;
                problem = &file->problems.items[k];
            }
    }
    if (!problem)
        return 0;
    error_set(err, ERR_POLICY, "%s:%d:%d: %s", first->path, problem->line, problem->column,
              problem->message);
    if (errors > 1)
        return error_hint(err, "%zu more: \"pgcairn policy check\" lists all", errors - 1);
    return ERR_POLICY;
}

int policy_set_load(const struct strv *paths, struct policy_set **ret_set, struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    int rc = policy_set_load_all(paths, &set, err);
    if (!rc)
        rc = refuse_errors(set, err);
    if (rc)
        return rc;
    *ret_set = TAKE(set);
    return 0;
}

size_t policy_set_file_count(const struct policy_set *set)
{
    return set->count;
}

const struct policy_file *policy_set_file(const struct policy_set *set, size_t index)
{
    return &set->files[index];
}

size_t policy_set_count(const struct policy_set *set)
{
    return set->policy_count;
}

const struct policy *policy_set_get(const struct policy_set *set, size_t index)
{
    return set->policies[index];
}

static int no_cluster(const struct policy_set *set, const char *cluster, struct error *err)
{
    const char *names[POLICY_SET_MAX];
    for (size_t i = 0; i < set->policy_count; i++)
        names[i] = set->policies[i]->cluster;
    const char *nearest = suggest_nearest(cluster, names, set->policy_count);
    error_set(err, ERR_USAGE, "no policy for cluster \"%s\"", cluster);
    if (nearest)
        return error_hint(err, "did you mean \"%s\"?", nearest);
    if (set->policy_count == 1)
        return error_hint(err, "the only cluster is \"%s\", of %s", names[0],
                          set->policies[0]->file);
    return error_hint(err, "\"pgcairn policy check\" lists the clusters; -c names a policy");
}

int policy_set_find(const struct policy_set *set, const char *cluster,
                    const struct policy **ret_policy, struct error *err)
{
    for (size_t i = 0; i < set->policy_count; i++)
        if (strcmp(set->policies[i]->cluster, cluster) == 0) {
            *ret_policy = set->policies[i];
            return 0;
        }
    return no_cluster(set, cluster, err);
}

static int no_job(const struct policy *policy, const char *job, struct error *err)
{
    const char *names[POLICY_JOBS_MAX];
    for (size_t i = 0; i < policy->job_count; i++)
        names[i] = policy->jobs[i].name;
    const char *nearest = suggest_nearest(job, names, policy->job_count);
    error_set(err, ERR_USAGE, "cluster \"%s\" has no job \"%s\"", policy->cluster, job);
    if (nearest)
        return error_hint(err, "did you mean \"%s/%s\"?", policy->cluster, nearest);
    return error_hint(err, "the jobs are in %s", policy->file);
}

int policy_set_find_job(const struct policy_set *set, const char *cluster_and_job,
                        const struct policy **ret_policy, const struct policy_job **ret_job,
                        struct error *err)
{
    const struct policy *policy = NULL;
    const char *slash = strchr(cluster_and_job, '/');
    if (!slash) {
        error_set(err, ERR_USAGE, "\"%s\" is not CLUSTER/JOB", cluster_and_job);
        return error_hint(err, "write both names, as in \"automatos/nightly\"");
    }
    _cleanup_(freep) char *cluster = strndup(cluster_and_job, (size_t)(slash - cluster_and_job));
    if (!cluster)
        return error_no_memory(err);
    int rc = policy_set_find(set, cluster, &policy, err);
    if (rc)
        return rc;
    const struct policy_job *job = policy_find_job(policy, slash + 1);
    if (!job)
        return no_job(policy, slash + 1, err);
    *ret_policy = policy;
    *ret_job = job;
    return 0;
}

static bool is_policy_name(const char *name)
{
    size_t length = strlen(name);
    return name[0] != '.' && ((length > 5 && strcmp(name + length - 5, ".yaml") == 0) ||
                              (length > 4 && strcmp(name + length - 4, ".yml") == 0));
}

static int add_folder(const char *path, struct strv *files, struct error *err)
{
    _cleanup_(closedirp) DIR *folder = opendir(path);
    _cleanup_(strv_clear) struct strv names = STRV_INIT(POLICY_SET_MAX);
    if (!folder)
        return error_set_errno(err, errno, "could not open folder \"%s\"", path);
    int rc = 0;
    errno = 0;
    for (struct dirent *entry; !rc && (entry = readdir(folder)); errno = 0)
        if (is_policy_name(entry->d_name))
            rc = strv_add(&names, entry->d_name, err);
    if (!rc && errno)
        return error_set_errno(err, errno, "could not read folder \"%s\"", path);
    if (!rc && names.count == 0) {
        error_set(err, ERR_POLICY, "no policy (*.yaml, *.yml) in folder \"%s\"", path);
        return error_hint(err, "\"pgcairn policy init\" writes a first one");
    }
    strv_sort(&names);
    size_t length = strlen(path);
    for (size_t i = 0; i < names.count && !rc; i++)
        rc = strv_addf(files, err, "%s%s%s", path, path[length - 1] == '/' ? "" : "/",
                       names.items[i]);
    return rc;
}

static int add_paths(const char *path, struct strv *files, struct error *err)
{
    struct stat status;
    if (stat(path, &status) == 0)
        return S_ISDIR(status.st_mode) ? add_folder(path, files, err) : strv_add(files, path, err);
    error_set_errno(err, errno, "could not open policy \"%s\"", path);
    if (err)
        err->code = ERR_POLICY;
    error_hint(err, "name a file or a folder with -c; \"pgcairn policy init\" writes a first one");
    return ERR_POLICY;
}

/* Whoever may read a file besides its owner: nobody else ever, and a group only where root gave the
 * file to it (as libpq has it for private keys, and Kubernetes mounts secrets). */
static bool is_exposed(const struct stat *status, bool allow_group)
{
    return (status->st_mode & S_IRWXO) ||
           ((status->st_mode & S_IRWXG) && (!allow_group || status->st_uid != 0));
}

static int check_secret_file(struct policy_file *file, const struct policy_place *at,
                             const char *path, bool allow_group, struct error *err)
{
    struct stat status;
    if (stat(path, &status))
        return problems_warning(&file->problems, at->line, at->column, err, "\"%s\": %s", path,
                                strerror(errno));
    if (!is_exposed(&status, allow_group))
        return 0;
    return problems_error(&file->problems, at->line, at->column, err,
                          "\"%s\" holds a password and can be read by others (chmod 600 %s)", path,
                          path);
}

static int check_secrets(struct policy_file *file, const struct stat *status, struct error *err)
{
    const struct policy *policy = file->policy;
    const struct policy_place *at = &policy->connection_place;
    int rc = 0;
    if (policy->holds_password && is_exposed(status, true))
        rc = problems_error(&file->problems, at->line, at->column, err,
                            "the file holds a password and can be read by others (chmod 600 %s, or "
                            "take the password from ${VAR} or password_file:)",
                            file->path);
    if (!rc && policy->s3.holds_secret && is_exposed(status, true))
        rc = problems_error(&file->problems, policy->s3.line, policy->s3.column, err,
                            "the file holds a secret key and can be read by others (chmod 600 %s, "
                            "or take the key from ${VAR})",
                            file->path);
    if (!rc && policy->password_file)
        rc = check_secret_file(file, &policy->password_place, policy->password_file, true, err);
    if (!rc && policy->passfile)
        rc = check_secret_file(file, &policy->password_place, policy->passfile, false, err);
    for (size_t i = 0; i < policy->notify_count && !rc; i++) {
        const struct policy_notify *notify = &policy->notify[i];
        const struct policy_place place = {notify->line, notify->column};
        if (notify->password_file)
            rc = check_secret_file(file, &place, notify->password_file, true, err);
    }
    return rc;
}

/* The nearest name of the zones that have a place on the map; "" when none is near. */
static void suggest_zone(const char *name, char nearest[SUGGEST_LENGTH_MAX + 1])
{
    _cleanup_(buf_clear) struct buf table = BUF_INIT(ZONE_TABLE_BYTES_MAX);
    _cleanup_(strv_clear) struct strv names = STRV_INIT(ZONE_NAMES_MAX);
    nearest[0] = '\0';
    if (file_read(ZONE_FOLDER "/zone.tab", &table, NULL))
        return;
    char *rest = NULL;
    for (char *line = strtok_r(table.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *column = *line == '#' ? NULL : strchr(line, '\t');
        column = column ? strchr(column + 1, '\t') : NULL;
        if (column && strv_addf(&names, NULL, "%.*s", (int)strcspn(column + 1, "\t"), column + 1))
            return;
    }
    const char *found =
        suggest_nearest(name, (const char *const *)(const void *)names.items, names.count);
    snprintf(nearest, SUGGEST_LENGTH_MAX + 1, "%s", found ? found : "");
}

static int check_zone(const char *name, void *context, struct error *err)
{
    _cleanup_(zone_freep) struct zone *zone = NULL;
    char nearest[SUGGEST_LENGTH_MAX + 1];
    (void)context;
    int rc = zone_load(name, &zone, err);
    if (rc != ERR_USAGE)
        return rc;
    suggest_zone(name, nearest);
    return *nearest ? error_hint(err, "did you mean \"%s\"?", nearest) : rc;
}

static const char *from_environment(const char *name, void *context)
{
    (void)context;
    return getenv(name);
}

/* A policy with errors is none, also when they were found here. */
static void settle(struct policy_file *file)
{
    problems_sort(&file->problems);
    if (file->problems.error_count > 0)
        file->policy = policy_free(file->policy);
}

static int read_file(struct policy_file *file, struct buf *text, struct stat *ret_status,
                     struct error *err)
{
    struct error fault = ERROR_NONE;
    int rc = file_read(file->path, text, &fault);
    if (!rc && stat(file->path, ret_status))
        rc = error_set_errno(&fault, errno, "could not read \"%s\"", file->path);
    if (rc == ERR_MEMORY)
        return error_no_memory(err);
    return rc ? problems_error(&file->problems, 1, 1, err, "%s", fault.message) : 0;
}

static int load_file(const char *path, struct policy_file *file, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(POLICY_BYTES_MAX);
    struct error fault = ERROR_NONE;
    struct stat status = {0};
    file->path = strdup(path);
    if (!file->path)
        return error_no_memory(err);
    int rc = read_file(file, &text, &status, err);
    if (rc || file->problems.error_count)
        return rc;
    const struct policy_world world = {.get_env = from_environment, .check_zone = check_zone};
    rc = policy_parse_in(&world, path, buf_text(&text), text.length, &file->policy, &file->problems,
                         &fault);
    if (rc && rc != ERR_POLICY) {
        error_set(err, rc, "%s", fault.message);
        return rc;
    }
    rc = file->policy ? check_secrets(file, &status, err) : 0;
    settle(file);
    if (text.data)
        explicit_bzero(text.data, text.length);
    return rc;
}

/* Two policies of one cluster would share its backups and delete each other's. */
static int refuse_twins(struct policy_set *set, struct error *err)
{
    int rc = 0;
    for (size_t i = 1; i < set->count && !rc; i++) {
        struct policy_file *file = &set->files[i];
        for (size_t k = 0; k < i && file->policy && !rc; k++) {
            const struct policy *other = set->files[k].policy;
            if (!other || strcmp(other->cluster, file->policy->cluster) != 0)
                continue;
            const struct policy_place *at = &file->policy->cluster_place;
            rc = problems_error(&file->problems, at->line, at->column, err,
                                "cluster \"%s\" has a policy already: %s", other->cluster,
                                other->file);
            settle(file);
        }
    }
    return rc;
}

/* The content of a password file, without the newline at its end. */
static int read_password(const char *path, struct buf *password, struct error *err)
{
    struct stat status;
    if (stat(path, &status)) {
        error_set_errno(err, errno, "could not read password_file \"%s\"", path);
        return error_hint(err, "write the password into it, one line, mode 0600");
    }
    if (is_exposed(&status, true)) {
        error_set(err, ERR_PERMISSION, "password_file \"%s\" can be read by others", path);
        return error_hint(err, "chmod 600 %s", path);
    }
    int rc = file_read(path, password, err);
    if (rc)
        return rc;
    while (password->length > 0 && (password->data[password->length - 1] == '\n' ||
                                    password->data[password->length - 1] == '\r'))
        password->data[--password->length] = '\0';
    if (password->length > 0 && strlen(password->data) == password->length &&
        !strchr(password->data, '\n'))
        return 0;
    error_set(err, ERR_FAILED, "password_file \"%s\" %s", path,
              password->length == 0 ? "is empty" : "must hold one line of text");
    return error_hint(err, "write the password into it, one line, mode 0600");
}

static int add_password(const struct policy *policy, struct connection *connection,
                        struct error *err)
{
    struct buf password = BUF_INIT(PASSWORD_BYTES_MAX);
    int rc = read_password(policy->password_file, &password, err);
    if (!rc)
        rc = connection_set(connection, "password", password.data, err);
    if (password.data)
        explicit_bzero(password.data, password.allocated);
    buf_clear(&password);
    return rc;
}

int policy_connection(const struct policy *policy, const struct policy_job *job,
                      char **ret_conninfo, struct error *err)
{
    bool is_own = job && job->connection;
    struct connection connection = {.count = 0};
    _cleanup_(strv_clear) struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
    int rc =
        connection_parse(is_own ? job->connection : policy->connection, &connection, &notices, err);
    if (!rc && policy->password_file && !is_own)
        rc = add_password(policy, &connection, err);
    if (!rc && policy->passfile && !connection_get(&connection, "passfile"))
        rc = connection_set(&connection, "passfile", policy->passfile, err);
    if (!rc)
        rc = connection_to_text(&connection, ret_conninfo, err);
    connection_clear(&connection);
    return rc;
}
