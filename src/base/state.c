#include "base/state.h"

#include <string.h>

char *state_user_folder(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *folder = NULL;
    if (state && state[0] == '/')
        return asprintf(&folder, "%s/pgcairn", state) < 0 ? NULL : folder;
    if (home && home[0] == '/')
        return asprintf(&folder, "%s/.local/state/pgcairn", home) < 0 ? NULL : folder;
    return NULL;
}

int state_folder(char **ret_folder, struct error *err)
{
    const char *given = getenv("STATE_DIRECTORY");
    char *folder = NULL;
    if (given && given[0] == '/') /* systemd passes several with colons between; ours is first */
        folder = strndup(given, strcspn(given, ":"));
    else if (geteuid() == 0 || access(STATE_SYSTEM_FOLDER, W_OK | X_OK) == 0)
        folder = strdup(STATE_SYSTEM_FOLDER);
    else {
        folder = state_user_folder();
        if (!folder) {
            error_set(err, ERR_PERMISSION, "there is no folder to remember in: \"%s\" is not ours",
                      STATE_SYSTEM_FOLDER);
            return error_hint(err, "set STATE_DIRECTORY or HOME to a folder of this user");
        }
    }
    if (!folder)
        return error_no_memory(err);
    *ret_folder = folder;
    return 0;
}
