#include "daemon/systemd.h"

#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/instant.h"
#include "base/units.h"

enum { MESSAGE_MAX = 1024 };

/* An address that begins with '@' is in the abstract namespace, where a NUL stands in its place. */
static bool notify_address(struct sockaddr_un *address, socklen_t *ret_length)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(address->sun_path))
        return false;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, strlen(path));
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    *ret_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    return true;
}

void systemd_notify(const char *format, ...)
{
    struct sockaddr_un address;
    socklen_t length;
    char message[MESSAGE_MAX];
    if (!notify_address(&address, &length))
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        sendto(fd, message, strlen(message), MSG_NOSIGNAL, (struct sockaddr *)&address, length);
}

void systemd_notify_reloading(void)
{
    systemd_notify("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)instant_monotonic_us());
}

int64_t systemd_watchdog_us(void)
{
    const char *text = getenv("WATCHDOG_USEC"), *pid_text = getenv("WATCHDOG_PID");
    int64_t us = 0, pid = 0;
    if (!text || number_parse(text, "WATCHDOG_USEC", 1, INT64_MAX, &us, NULL))
        return 0;
    if (pid_text &&
        (number_parse(pid_text, "WATCHDOG_PID", 1, INT32_MAX, &pid, NULL) || pid != getpid()))
        return 0;
    return us;
}
