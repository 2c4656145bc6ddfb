/* Region and endpoint, from where the AWS tools take them. */
#include "store/s3_provider.h"

#include <string.h>
#include <strings.h>

#include "store/s3_profile.h"

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int take_region(const char *value, const char *where, char region[S3_REGION_MAX + 1],
                       struct error *err)
{
    size_t length = strlen(value);
    static const char ALLOWED[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    if (length <= S3_REGION_MAX && strspn(value, ALLOWED) == length) {
        memcpy(region, value, length + 1);
        return 0;
    }
    error_set(err, ERR_USAGE, "the region in %s is none: letters, digits and '-', at most %d",
              where, S3_REGION_MAX);
    return error_hint(err, "regions are like eu-central-1; many other services take us-east-1");
}

int s3_find_region(const struct store_s3_options *options, char region[S3_REGION_MAX + 1],
                   struct error *err)
{
    static const char *const VARIABLES[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
    if (options && options->region && *options->region)
        return take_region(options->region, "the policy", region, err);
    for (size_t i = 0; i < ARRAY_SIZE(VARIABLES); i++)
        if (setting(VARIABLES[i]))
            return take_region(setting(VARIABLES[i]), VARIABLES[i], region, err);
    _cleanup_(s3_profile_clear) struct s3_profile profile;
    int rc = s3_profile_read(options ? options->profile : NULL, &profile, err);
    if (rc)
        return rc;
    const char *value = s3_profile_get(&profile, "region");
    return take_region(value ? value : "", "the profile", region, err);
}

static int take_endpoint(const char *value, const char *where, char endpoint[S3_ENDPOINT_MAX + 1],
                         struct error *err)
{
    size_t length = strlen(value);
    bool is_url = strncasecmp(value, "https://", 8) == 0 || strncasecmp(value, "http://", 7) == 0;
    if (length <= S3_ENDPOINT_MAX && is_url && !strpbrk(value, " \t\r\n")) {
        memcpy(endpoint, value, length + 1);
        return 0;
    }
    error_set(err, ERR_USAGE, "the endpoint in %s is no URL of at most %d characters", where,
              S3_ENDPOINT_MAX);
    return error_hint(err, "write it as https://host or https://host:port");
}

static bool is_true(const char *text)
{
    return text && strcasecmp(text, "true") == 0;
}

int s3_find_service_endpoint(const char *option, const char *service, const char *profile_name,
                             char endpoint[S3_ENDPOINT_MAX + 1], struct error *err)
{
    char variable[64];
    snprintf(variable, sizeof(variable), "AWS_ENDPOINT_URL_%s", service);
    if (option && *option)
        return take_endpoint(option, "the policy", endpoint, err);
    _cleanup_(s3_profile_clear) struct s3_profile profile;
    int rc = s3_profile_read(profile_name, &profile, err);
    if (rc)
        return rc;
    const char *ignore = setting("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    if (!ignore)
        ignore = s3_profile_get(&profile, "ignore_configured_endpoint_urls");
    endpoint[0] = '\0';
    if (is_true(ignore))
        return 0;
    if (setting(variable))
        return take_endpoint(setting(variable), variable, endpoint, err);
    if (setting("AWS_ENDPOINT_URL"))
        return take_endpoint(setting("AWS_ENDPOINT_URL"), "AWS_ENDPOINT_URL", endpoint, err);
    const char *value = s3_profile_endpoint(&profile, service);
    return value ? take_endpoint(value, "the profile", endpoint, err) : 0;
}

int s3_find_endpoint(const struct store_s3_options *options, char endpoint[S3_ENDPOINT_MAX + 1],
                     struct error *err)
{
    return s3_find_service_endpoint(options ? options->endpoint : NULL, "S3",
                                    options ? options->profile : NULL, endpoint, err);
}
