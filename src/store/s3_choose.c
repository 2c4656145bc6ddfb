/* Which source of credentials is configured, in the order that s3_credentials.h tells. */
#include "store/s3_provider.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "store/s3_profile.h"

const struct s3_provider s3_fixed_keys = {.name = "fixed keys"};

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static const char *or_null(const char *text)
{
    return text && *text ? text : NULL;
}

/* Copies a text into a field of the source; absent ones stay NULL. */
static int copy(const char *text, char **ret_copy, struct error *err)
{
    if (text && !(*ret_copy = strdup(text)))
        return error_no_memory(err);
    return 0;
}

_printf_(3, 4) static int compose(char **ret_text, struct error *err, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        return error_no_memory(err);
    free(*ret_text);
    *ret_text = text;
    return 0;
}

struct pair {
    const char *id, *secret, *token;
    const char *id_name, *secret_name; /* how they are set */
    const char *origin;
};

/* Leaves the provider unset when neither is there. */
static int choose_pair(const struct pair *pair, struct s3_credentials_source *source,
                       struct error *err)
{
    if (!pair->id && !pair->secret)
        return 0;
    if (!pair->id || !pair->secret) {
        error_set(err, ERR_USAGE, "%s is set without %s",
                  pair->id ? pair->id_name : pair->secret_name,
                  pair->id ? pair->secret_name : pair->id_name);
        return error_hint(err, "set both, or neither to let the next source of credentials count");
    }
    int rc = s3_credentials_set(pair->id, pair->secret, pair->token, INSTANT_NONE, pair->origin,
                                &source->current, err);
    if (!rc)
        rc = copy(pair->origin, &source->origin, err);
    source->has_current = true;
    source->provider = &s3_fixed_keys;
    return rc;
}

static int choose_options(const struct store_s3_options *options,
                          struct s3_credentials_source *source, struct error *err)
{
    struct pair pair = {
        .id = or_null(options->access_key_id),
        .secret = or_null(options->secret_access_key),
        .token = options->session_token,
        .id_name = "access_key_id: of the repository",
        .secret_name = "secret_access_key: of the repository",
        .origin = "the policy",
    };
    return choose_pair(&pair, source, err);
}

static int choose_environment(const struct store_s3_options *options,
                              struct s3_credentials_source *source, struct error *err)
{
    struct pair pair = {
        .id = setting("AWS_ACCESS_KEY_ID"),
        .secret = setting("AWS_SECRET_ACCESS_KEY"),
        .token = setting("AWS_SESSION_TOKEN"),
        .id_name = "AWS_ACCESS_KEY_ID",
        .secret_name = "AWS_SECRET_ACCESS_KEY",
        .origin = "the environment",
    };
    return or_null(options->profile) ? 0 : choose_pair(&pair, source, err);
}

/* "https://sts.REGION.amazonaws.com", unless the environment or the profile names another. */
static int find_sts(const struct store_s3_options *options, struct s3_credentials_source *source,
                    struct error *err)
{
    char region[S3_REGION_MAX + 1], url[S3_ENDPOINT_MAX + 1];
    int rc = s3_find_service_endpoint(NULL, "STS", options->profile, url, err);
    if (!rc)
        rc = s3_find_region(options, region, err);
    if (rc)
        return rc;
    const char *own_ca = *url ? or_null(options->ca_file) : NULL;
    if ((rc = copy(own_ca ? own_ca : setting("AWS_CA_BUNDLE"), &source->ca_file, err)))
        return rc;
    if (*url)
        return copy(url, &source->url, err);
    return compose(&source->url, err, "https://sts.%s%samazonaws.com%s", region, *region ? "." : "",
                   strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

static int choose_role(const struct store_s3_options *options, const char *role_arn,
                       const char *token_file, const char *session_name,
                       struct s3_credentials_source *source, struct error *err)
{
    source->provider = &s3_web_identity;
    int rc = copy(role_arn, &source->role_arn, err);
    if (!rc)
        rc = copy(token_file, &source->token_file, err);
    if (!rc)
        rc = copy(session_name ? session_name : "pgcairn", &source->session_name, err);
    if (!rc)
        rc = compose(&source->origin, err, "STS for %s", role_arn);
    return rc ? rc : find_sts(options, source, err);
}

static int unsupported(const struct s3_profile *profile, const char *key, struct error *err)
{
    error_set(err, ERR_USAGE, "profile \"%s\" gets its credentials by %s, which pgcairn does not",
              profile->name, key);
    return error_hint(err,
                      "give it static keys, or role_arn with web_identity_token_file, or set the "
                      "variables of \"aws configure export-credentials --profile %s --format env\"",
                      profile->name);
}

/* Ways that the AWS tools would prefer to static keys; with static keys in its place the work
 * would run as somebody else. */
static int refuse_unsupported(const struct s3_profile *profile, struct error *err)
{
    static const char *const ROLES[] = {"source_profile", "credential_source"};
    static const char *const KEYS[] = {"sso_session", "sso_start_url", "sso_account_id",
                                       "login_session"};
    bool has_role = s3_profile_get(profile, "role_arn");
    for (size_t i = 0; has_role && i < ARRAY_SIZE(ROLES); i++)
        if (s3_profile_get(profile, ROLES[i]))
            return unsupported(profile, ROLES[i], err);
    for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++)
        if (s3_profile_get(profile, KEYS[i]))
            return unsupported(profile, KEYS[i], err);
    const struct s3_profile_file *file = &profile->credentials;
    if (s3_profile_get(profile, "credential_process") &&
        !s3_profile_file_get(profile, file, "aws_access_key_id"))
        return unsupported(profile, "credential_process", err);
    return 0;
}

static int choose_profile_role(const struct store_s3_options *options,
                               const struct s3_profile *profile,
                               struct s3_credentials_source *source, struct error *err)
{
    const char *role_arn = s3_profile_get(profile, "role_arn");
    const char *token_file = s3_profile_get(profile, "web_identity_token_file");
    if (!role_arn && !token_file)
        return 0;
    if (role_arn && token_file)
        return choose_role(options, role_arn, token_file,
                           s3_profile_get(profile, "role_session_name"), source, err);
    error_set(err, ERR_USAGE, "profile \"%s\" has %s without %s", profile->name,
              role_arn ? "role_arn" : "web_identity_token_file",
              role_arn ? "web_identity_token_file" : "role_arn");
    return error_hint(err, "roles are taken with both, or not at all");
}

static int choose_profile_keys(const struct s3_profile *profile,
                               struct s3_credentials_source *source, struct error *err)
{
    struct error reason = ERROR_NONE;
    int rc = s3_profile_take_keys(profile, &source->current, &reason);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc && err)
        *err = reason;
    if (!rc && profile->is_named)
        rc = copy(profile->name, &source->profile, err);
    if (!rc)
        rc = compose(&source->origin, err, "profile \"%s\"", profile->name);
    source->has_current = true;
    source->provider = &s3_profile_keys;
    return rc;
}

/* The profile says nothing about who we are: no matter for "default", but not what somebody meant
 * who named a profile or a file. */
static int profile_is_silent(const struct s3_profile *profile, struct s3_credentials_source *source,
                             struct error *err)
{
    const struct s3_profile_file *credentials = &profile->credentials;
    if (profile->is_named) {
        error_set(err, ERR_USAGE,
                  "profile \"%s\" has neither keys nor role_arn with web_identity_token_file",
                  profile->name);
        return error_hint(err, "add keys to \"%s\", or name no profile", credentials->path);
    }
    if (credentials->is_named && credentials->is_absent) {
        error_set(err, ERR_USAGE, "AWS_SHARED_CREDENTIALS_FILE names \"%s\", which is not there",
                  credentials->path);
        return error_hint(err, "create it (mode 600), or unset AWS_SHARED_CREDENTIALS_FILE");
    }
    return compose(&source->looked, err,
                   "there are no keys in the policy, in AWS_ACCESS_KEY_ID, in profile \"default\" "
                   "of \"%s\"%s and \"%s\"%s, no AWS_WEB_IDENTITY_TOKEN_FILE, no "
                   "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                   credentials->path, credentials->is_absent ? " (not there)" : "",
                   profile->config.path, profile->config.is_absent ? " (not there)" : "");
}

static int choose_profile(const struct store_s3_options *options,
                          struct s3_credentials_source *source, struct error *err)
{
    _cleanup_(s3_profile_clear) struct s3_profile profile;
    int rc = s3_profile_read(options->profile, &profile, err);
    if (!rc)
        rc = refuse_unsupported(&profile, err);
    if (!rc)
        rc = choose_profile_role(options, &profile, source, err);
    if (!rc && !source->provider)
        rc = choose_profile_keys(&profile, source, err);
    if (!rc && !source->provider)
        rc = profile_is_silent(&profile, source, err);
    return rc;
}

/* Keys of a profile may be replaced in its file by whoever rotates them. */
static int fetch_profile_keys(const struct s3_credentials_source *source,
                              struct s3_credentials *ret_credentials, struct error *err)
{
    _cleanup_(s3_profile_clear) struct s3_profile profile;
    int rc = s3_profile_read(source->profile, &profile, err);
    if (!rc)
        rc = s3_profile_take_keys(&profile, ret_credentials, err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    error_set(err, ERR_AUTH, "profile \"%s\" has no keys any more", profile.name);
    return error_hint(err, "add keys to \"%s\"", profile.credentials.path);
}

const struct s3_provider s3_profile_keys = {.name = "profile", .fetch = fetch_profile_keys};

static int choose_web_identity(const struct store_s3_options *options,
                               struct s3_credentials_source *source, struct error *err)
{
    const char *token_file = setting("AWS_WEB_IDENTITY_TOKEN_FILE");
    const char *role_arn = setting("AWS_ROLE_ARN");
    if (!token_file)
        return 0;
    if (role_arn)
        return choose_role(options, role_arn, token_file, setting("AWS_ROLE_SESSION_NAME"), source,
                           err);
    error_set(err, ERR_USAGE, "AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN");
    return error_hint(err, "set AWS_ROLE_ARN to the role to take, or unset the other");
}

static int choose_container(struct s3_credentials_source *source, struct error *err)
{
    const char *relative = setting("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = setting("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!relative && !full)
        return 0;
    source->provider = &s3_container;
    int rc = copy("the container's endpoint", &source->origin, err);
    if (!rc && relative && *relative != '/') {
        error_set(err, ERR_USAGE, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with /");
        return error_hint(err, "whole URLs go into AWS_CONTAINER_CREDENTIALS_FULL_URI");
    }
    if (!rc && relative)
        rc = compose(&source->url, err, "http://169.254.170.2%s", relative);
    else if (!rc)
        rc = s3_container_check(full, err);
    if (!rc && !relative)
        rc = copy(full, &source->url, err);
    if (!rc)
        rc = copy(setting("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), &source->token_file, err);
    if (!rc)
        rc = copy(setting("AWS_CONTAINER_AUTHORIZATION_TOKEN"), &source->authorization, err);
    return rc ? rc : copy(setting("AWS_CA_BUNDLE"), &source->ca_file, err);
}

static int choose_instance(struct s3_credentials_source *source, struct error *err)
{
    const char *disabled = setting("AWS_EC2_METADATA_DISABLED");
    const char *url = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *mode = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    if (disabled && strcasecmp(disabled, "true") == 0)
        return s3_nothing_found(source, "AWS_EC2_METADATA_DISABLED is set", err);
    if (!url)
        url = mode && strcasecmp(mode, "IPv6") == 0 ? "http://[fd00:ec2::254]"
                                                    : "http://169.254.169.254";
    source->provider = &s3_instance;
    int rc = copy("instance metadata", &source->origin, err);
    return rc ? rc : copy(url, &source->url, err);
}

int s3_choose(const struct store_s3_options *options, struct s3_credentials_source *source,
              struct error *err)
{
    static const struct store_s3_options NONE;
    if (!options)
        options = &NONE;
    int rc = choose_options(options, source, err);
    if (!rc && !source->provider)
        rc = choose_environment(options, source, err);
    if (!rc && !source->provider)
        rc = choose_profile(options, source, err);
    if (!rc && !source->provider)
        rc = choose_web_identity(options, source, err);
    if (!rc && !source->provider)
        rc = choose_container(source, err);
    if (!rc && !source->provider)
        rc = choose_instance(source, err);
    return rc;
}
