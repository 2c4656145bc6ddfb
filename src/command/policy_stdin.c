#include "command/policy_stdin.h"

#include "base/file.h"

static const char *get_environment(const char *name, void *context)
{
    (void)context;
    return getenv(name);
}

int policy_stdin_read(const struct globals *globals, struct policy **ret_policy, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(POLICY_BYTES_MAX);
    struct policy_problems problems = {0};
    const char *file = globals->policy_paths.count ? globals->policy_paths.items[0] : "stdin";
    int rc = file_read("/dev/stdin", &text, err);
    if (rc)
        return rc;
    rc = policy_parse(file, buf_text(&text), text.length, get_environment, NULL, ret_policy,
                      &problems, err);
    policy_problems_clear(&problems);
    return rc;
}
