#include "base/state.h"

#include <pwd.h>
#include <string.h>

enum { PASSWD_BYTES = 4096 };

/* Services of PostgreSQL may have no HOME: Debian's pg_ctlcluster starts one without. */
static const char *home_folder(char entry[PASSWD_BYTES])
{
    const char *home = getenv("HOME");
    struct passwd passwd, *found = NULL;
    if (home && home[0])
        return home;
    if (getpwuid_r(geteuid(), &passwd, entry, PASSWD_BYTES, &found) != 0 || !found)
        return NULL;
    return passwd.pw_dir;
}

char *state_user_folder(void)
{
    char entry[PASSWD_BYTES];
    const char *state = getenv("XDG_STATE_HOME"), *home = home_folder(entry);
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
