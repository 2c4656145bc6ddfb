/*
 * Progress of long work on stderr: a live bar on a terminal, else a plain line now and then (and at
 * each new phase). Quiet shows nothing. progress_show() may be called often and from one thread at
 * a time; progress_notice() prints a line of its own without breaking the bar.
 */
#ifndef PGCAIRN_COMMAND_PROGRESS_H
#define PGCAIRN_COMMAND_PROGRESS_H

#include <stdint.h>

#include "base/error.h"

enum { PROGRESS_LINE_SECONDS = 30 };

struct progress;

/* items: what is counted, "tables"; NULL: bytes. Counted work has a phase for each item, which are
 * not worth a line each. Borrowed. */
int progress_new(bool quiet, const char *items, struct progress **ret_progress, struct error *err);
void progress_show(struct progress *progress, const char *phase, int64_t done, int64_t total);
void progress_notice(struct progress *progress, const char *text);
void progress_end(struct progress *progress); /* removes the bar */
struct progress *progress_free(struct progress *progress);

DEFINE_FREEP(struct progress *, progress_free)

#endif
