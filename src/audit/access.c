/* ACC: who could read or change what is stored? */
#include <string.h>

#include "audit/judging.h"

AUDIT_CONTROL(audit_server_tls)
{
    (void)err;
    const struct facts_server *server = &judging->facts->server;
    const char *mode = server->sslmode ? server->sslmode : "";
    audit_require(judging, judging->policy->connection_place.line, "sslmode=verify-full");
    if (audit_lacks_server(judging))
        return 0;
    if (server->is_local)
        audit_say(judging, AUDIT_PASS, "the server is on this machine");
    else if (!server->uses_tls)
        audit_say(judging, AUDIT_FAIL, "the connection is not encrypted (sslmode=%s)", mode);
    else if (strcmp(mode, "verify-full") == 0)
        audit_say(judging, AUDIT_PASS, "TLS with sslmode=verify-full");
    else
        audit_say(judging, AUDIT_WARN, "TLS, but with sslmode=%s anybody may pose as the server",
                  mode);
    return 0;
}

static bool is_bucket(const struct audit_judging *judging)
{
    return strncmp(judging->policy->repository_url, "s3://", 5) == 0;
}

static bool is_loopback(const char *host)
{
    static const char *const HOSTS[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < ARRAY_SIZE(HOSTS); i++) {
        size_t length = strlen(HOSTS[i]);
        if (strncmp(host, HOSTS[i], length) == 0 && strchr(":/", host[length]))
            return true; /* strchr finds the end of the text too */
    }
    return false;
}

bool audit_is_store_local(const struct audit_judging *judging)
{
    const char *endpoint = judging->policy->s3.endpoint;
    const char *host = endpoint ? strstr(endpoint, "://") : NULL;
    return !is_bucket(judging) || (host && is_loopback(host + strlen("://")));
}

AUDIT_CONTROL(audit_store_tls)
{
    (void)err;
    const char *endpoint = judging->policy->s3.endpoint;
    if (!is_bucket(judging))
        audit_say(judging, AUDIT_SKIP, "the repository is a folder");
    else if (endpoint && strncmp(endpoint, "http://", 7) == 0 && is_loopback(endpoint + 7))
        audit_say(judging, AUDIT_PASS, "%s is on this machine", endpoint);
    else if (endpoint && strncmp(endpoint, "http://", 7) == 0)
        audit_say(judging, AUDIT_FAIL, "%s is not encrypted", endpoint);
    else
        audit_say(judging, AUDIT_PASS, "%s", endpoint && *endpoint ? endpoint : "AWS, by https");
    return 0;
}

AUDIT_CONTROL(audit_encrypted)
{
    (void)err;
    const struct policy_s3 *s3 = &judging->policy->s3;
    if (!is_bucket(judging))
        audit_say(judging, AUDIT_WARN, "a folder: whether its disk is encrypted is not known");
    else if (s3->sse != S3_SSE_NONE)
        audit_say(judging, AUDIT_PASS, "asked for with every object: %s%s%s", s3_sse_words[s3->sse],
                  s3->kms_key_id && *s3->kms_key_id ? " by key " : "",
                  s3->kms_key_id ? s3->kms_key_id : "");
    else if (!s3->endpoint || !*s3->endpoint)
        audit_say(judging, AUDIT_PASS, "by AWS, with keys of its own");
    else
        audit_say(judging, AUDIT_WARN, "not asked for, and not every service does so by itself");
    return 0;
}

/* As store/file_store.h has it: on purpose, with a group that was made for it. */
static bool is_shared_folder(const struct facts_file *file)
{
    return (file->mode & 02777) == 02770;
}

AUDIT_CONTROL(audit_file_modes)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    for (size_t i = 0; i < facts->file_count; i++) {
        const struct facts_file *file = &facts->files[i];
        audit_point(judging, "%s", file->path);
        if (file->problem)
            audit_say(judging, AUDIT_UNKNOWN, "%s: %s", file->path, file->problem);
        else if (file->is_foreign)
            audit_say(judging, AUDIT_FAIL, "%s %s belongs to another user", file->what, file->path);
        else if (is_shared_folder(file))
            audit_say(judging, AUDIT_WARN, "%s %s is shared: its group can change it (mode %04o)",
                      file->what, file->path, (unsigned)file->mode);
        else if (file->mode & 022)
            audit_say(judging, AUDIT_FAIL, "%s %s can be changed by others (mode %04o)", file->what,
                      file->path, (unsigned)file->mode);
        else if (file->is_secret && file->mode & 07)
            audit_say(judging, AUDIT_FAIL, "%s %s can be read by others (mode %04o)", file->what,
                      file->path, (unsigned)file->mode);
        else
            audit_say(judging, AUDIT_PASS, "%s has mode %04o", file->path, (unsigned)file->mode);
    }
    if (facts->file_count == 0)
        audit_say(judging, AUDIT_SKIP, "the policy came from no file");
    return 0;
}

AUDIT_CONTROL(audit_role)
{
    (void)err;
    const struct facts_server *server = &judging->facts->server;
    if (audit_lacks_server(judging))
        return 0;
    if (server->is_superuser)
        audit_say(judging, AUDIT_WARN, "%s is a superuser", server->role);
    else if (server->may_create_roles)
        audit_say(judging, AUDIT_WARN, "%s may create roles", server->role);
    else
        audit_say(judging, AUDIT_PASS, "%s is no superuser", server->role);
    return 0;
}

AUDIT_CONTROL(audit_public)
{
    (void)err;
    const struct facts_bucket *bucket = &judging->facts->bucket;
    if (audit_lacks_repository(judging))
        return 0;
    if (!is_bucket(judging)) {
        audit_say(judging, AUDIT_SKIP, "the repository is a folder");
        return 0;
    }
    if (judging->facts->bucket_problem || !bucket->public_problem)
        audit_say(judging, AUDIT_UNKNOWN, "it was not asked");
    else if (*bucket->public_problem)
        audit_say(judging, AUDIT_UNKNOWN, "%.300s", bucket->public_problem);
    else
        audit_say(judging, AUDIT_PASS, "it refuses both");
    if (bucket->is_listed_publicly)
        audit_say(judging, AUDIT_FAIL, "anybody can list %s", judging->policy->repository_url);
    if (bucket->is_read_publicly)
        audit_say(judging, AUDIT_FAIL, "anybody can read %s/pgcairn.json",
                  judging->policy->repository_url);
    return 0;
}
