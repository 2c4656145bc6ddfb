#include <errno.h>
#include <string.h>

#include "journal/journal.h"

static const char SYSTEM_FOLDER[] = "/var/lib/pgcairn";

/* systemd passes several state folders with colons between; ours is the first. */
static char *first_path(const char *list)
{
    return strndup(list, strcspn(list, ":"));
}

static char *user_folder(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *folder = NULL;
    if (state && state[0] == '/')
        return asprintf(&folder, "%s/pgcairn", state) < 0 ? NULL : folder;
    if (home && home[0] == '/')
        return asprintf(&folder, "%s/.local/state/pgcairn", home) < 0 ? NULL : folder;
    return NULL;
}

static bool is_usable(const char *folder, enum journal_mode mode)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/journal.db", folder);
    if (mode == JOURNAL_READ)
        return access(path, R_OK) == 0;
    return access(folder, W_OK | X_OK) == 0;
}

/* A reader that has no journal of its own means the system's; that it may not read that one must
 * not look as if there were none. */
static bool is_hidden(const char *folder)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/journal.db", folder);
    return access(path, R_OK) != 0 && errno == EACCES;
}

int journal_folder(enum journal_mode mode, char **ret_folder, struct error *err)
{
    const char *given = getenv("STATE_DIRECTORY");
    char *folder = NULL;
    if (given && given[0] == '/')
        folder = first_path(given);
    else if (geteuid() == 0 || is_usable(SYSTEM_FOLDER, mode))
        folder = strdup(SYSTEM_FOLDER);
    else {
        folder = user_folder();
        if (mode == JOURNAL_READ && is_hidden(SYSTEM_FOLDER) &&
            !(folder && is_usable(folder, mode))) {
            free(folder);
            folder = strdup(SYSTEM_FOLDER);
        }
        if (!folder) {
            error_set(err, ERR_PERMISSION, "there is no folder for the journal: \"%s\" is not ours",
                      SYSTEM_FOLDER);
            return error_hint(err, "set STATE_DIRECTORY or HOME to a folder of this user");
        }
    }
    if (!folder)
        return error_no_memory(err);
    *ret_folder = folder;
    return 0;
}
