#include <errno.h>
#include <string.h>

#include "base/state.h"
#include "journal/journal.h"

static bool has_journal(const char *folder)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/journal.db", folder);
    return access(path, R_OK) == 0;
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
    if (mode != JOURNAL_READ || (given && given[0] == '/') || geteuid() == 0)
        return state_folder(ret_folder, err);
    _cleanup_(freep) char *own = state_user_folder();
    bool has_own = own && has_journal(own);
    if (has_journal(STATE_SYSTEM_FOLDER) || (is_hidden(STATE_SYSTEM_FOLDER) && !has_own)) {
        *ret_folder = strdup(STATE_SYSTEM_FOLDER);
        return *ret_folder ? 0 : error_no_memory(err);
    }
    if (!own)
        return state_folder(ret_folder, err);
    *ret_folder = TAKE(own);
    return 0;
}
