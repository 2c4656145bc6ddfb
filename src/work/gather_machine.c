/* This machine: what the journal remembers, and who may read and change the files of a policy. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal.h"
#include "work/gather.h"

static int copy_text(const char *text, char **ret_copy, struct error *err)
{
    *ret_copy = strdup(text);
    return *ret_copy ? 0 : error_no_memory(err);
}

/* -- the journal --------------------------------------------------------------------------- */

static int note_run(const struct journal_run *run, void *context, struct error *err)
{
    struct facts_audit *facts = context;
    struct facts_run *entry;
    int rc = facts_audit_add(&facts->runs, &facts->run_count, sizeof(*entry), FACTS_RUNS_MAX,
                             "runs", &entry, err);
    if (rc)
        return rc;
    entry->due_us = run->due_us;
    entry->started_us = run->started_us;
    entry->ended_us = run->ended_us;
    rc = copy_text(run->run_id, &entry->run_id, err);
    if (!rc)
        rc = copy_text(run->job, &entry->job, err);
    if (!rc)
        rc = copy_text(run->type, &entry->type, err);
    if (!rc)
        rc = copy_text(journal_outcome_name(run->outcome), &entry->outcome, err);
    if (!rc)
        rc = copy_text(run->error_code, &entry->error_code, err);
    return rc ? rc : copy_text(run->message, &entry->message, err);
}

int gather_journal(const struct policy *policy, struct facts_audit *facts, struct error *err)
{
    _cleanup_(freep) char *folder = NULL;
    _cleanup_(journal_freep) struct journal *journal = NULL;
    struct journal_daemon daemon = {0};
    struct error reason = ERROR_NONE;
    int rc = journal_folder(JOURNAL_READ, &folder, &reason);
    if (!rc)
        rc = journal_open(folder, JOURNAL_READ, &journal, &reason);
    if (!rc)
        rc = journal_each(journal, policy->cluster, note_run, facts, &reason);
    if (!rc)
        rc = journal_daemon(journal, &daemon, &reason);
    facts->has_journal = rc == 0;
    if (rc)
        return gather_problem(&reason, &facts->journal_problem, err);
    if (daemon.process.pid) {
        facts->daemon_started_us = daemon.started_us;
        facts->daemon_heartbeat_us = daemon.heartbeat_us;
    }
    return 0;
}

/* -- files --------------------------------------------------------------------------------- */

static int note_file(struct facts_audit *facts, const char *what, const char *path, bool is_secret,
                     struct error *err)
{
    struct facts_file *entry;
    struct stat status;
    struct error reason = ERROR_NONE;
    int rc = facts_audit_add(&facts->files, &facts->file_count, sizeof(*entry), FACTS_ROWS_MAX,
                             "files", &entry, err);
    if (!rc)
        rc = copy_text(what, &entry->what, err);
    if (!rc)
        rc = copy_text(path, &entry->path, err);
    if (rc)
        return rc;
    if (stat(path, &status)) {
        error_set(&reason, ERR_UNKNOWN, "%s", strerror(errno));
        return gather_problem(&reason, &entry->problem, err);
    }
    entry->is_secret = is_secret;
    entry->mode = (int)(status.st_mode & 07777);
    entry->is_foreign = status.st_uid != 0 && status.st_uid != geteuid();
    return 0;
}

/* A repository in a folder holds what a server does, hashes of passwords too. */
int gather_files(const struct policy *policy, struct facts_audit *facts, struct error *err)
{
    const char *folder = policy->repository_url + strlen("file://");
    bool is_file = strncmp(policy->repository_url, "file://", 7) == 0;
    struct stat status;
    int rc = 0;
    if (access(policy->file, F_OK) == 0)
        rc = note_file(facts, "the policy", policy->file, policy->holds_password, err);
    if (!rc && policy->password_file)
        rc = note_file(facts, "the password file", policy->password_file, true, err);
    if (!rc && policy->passfile)
        rc = note_file(facts, "the password file", policy->passfile, true, err);
    if (!rc && is_file && stat(folder, &status) == 0 && S_ISDIR(status.st_mode))
        rc = note_file(facts, "the repository", folder, true, err);
    return rc;
}
