#include "command/person.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PASSWD_BYTES = 4096 };

char *person_name(char name[PERSON_MAX])
{
    char storage[PASSWD_BYTES];
    struct passwd entry, *found = NULL;
    const char *sudo_user = getenv("SUDO_USER");
    if (sudo_user && *sudo_user)
        snprintf(name, PERSON_MAX, "%s", sudo_user);
    else if (getpwuid_r(getuid(), &entry, storage, sizeof(storage), &found) == 0 && found)
        snprintf(name, PERSON_MAX, "%s", found->pw_name);
    else
        snprintf(name, PERSON_MAX, "uid %lld", (long long)getuid());
    return name;
}
