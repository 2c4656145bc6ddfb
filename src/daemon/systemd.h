/*
 * What systemd wants to hear of a service of Type=notify (sd_notify(3), systemd.service(5)): a few
 * datagrams to $NOTIFY_SOCKET, written here so that libsystemd is not needed. Without that variable
 * everything does nothing.
 */
#ifndef PGCAIRN_DAEMON_SYSTEMD_H
#define PGCAIRN_DAEMON_SYSTEMD_H

#include <stdint.h>

#include "base/cleanup.h"

/* "READY=1\nSTATUS=..." and the like. Errors are not reported: there is nobody to tell. */
void systemd_notify(const char *format, ...) _printf_(1, 2);

/* RELOADING=1 with the time that Type=notify-reload demands. */
void systemd_notify_reloading(void);

/* How often at most WATCHDOG=1 is expected of this process, microseconds; 0: not at all. */
int64_t systemd_watchdog_us(void);

#endif
