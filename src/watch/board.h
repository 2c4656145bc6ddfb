/*
 * Between the daemon's loop, which knows, and the HTTP thread, which tells. The loop puts things in
 * and never waits: each call takes a lock that is only held for moments. The thread takes what is
 * new, parses it, reads the journal itself, and keeps all that it needs to itself.
 *
 *     board_new(journal_folder, &board, err);
 *     board_put_policies(board, texts, count, err);       at the start and after a reload
 *     board_expect(board, wake_boot_us);                  before each sleep of the loop
 *     board_put_numbers(board, &numbers);                 at each look
 *     board_put_gathering(board, cluster, part, text, length)       a child has gathered it
 *     board_put_failure(board, cluster, part, message)              or not
 *     board_free(board);                                  when the thread is gone
 *
 * The pages (site.h) are the other side.
 */
#ifndef PGCAIRN_WATCH_BOARD_H
#define PGCAIRN_WATCH_BOARD_H

#include "journal/journal.h"
#include "policy/policy.h"
#include "watch/gathering.h"

/* The loop is taken for hung when it is so late to the end of its sleep, or of the time that it
 * gave itself for its work. */
#define BOARD_LATE_US (10 * US_PER_SECOND)

/* The text of a policy in force, borrowed. */
struct board_text {
    const char *path, *text;
    size_t length;
};

/* What only the loop knows. */
struct board_numbers {
    size_t running, waiting;
    size_t policies, bad_files;
    int64_t reload_failures;
    bool journal_fails; /* it could not be written */
    bool is_stopping;
};

/* Part of a cluster, as the thread has it. */
struct board_part {
    bool has_gathering;
    struct gathering gathering;       /* of a source that failed now, with what it told before */
    int64_t repository_us, server_us; /* when they told it; INSTANT_NONE: never */
    int64_t failures;                 /* since the start */
    char failure[ERROR_MESSAGE_MAX];  /* of the last try; "" when it was good */
};

struct board_cluster {
    const struct policy *policy; /* borrowed from the view */
    struct board_part parts[GATHERING_PARTS];
};

/* What the thread shows: its own, valid until the next board_view(). */
struct board_view {
    const struct policy **policies;
    struct board_cluster *clusters; /* one per policy */
    size_t count;
    struct board_numbers numbers;
    const char *journal_folder;
};

struct board;

int board_new(const char *journal_folder, struct board **ret_board, struct error *err);
struct board *board_free(struct board *board);

/* The loop's side. */
int board_put_policies(struct board *board, const struct board_text *texts, size_t count,
                       struct error *err);
void board_expect(struct board *board, int64_t wake_boot_us);
void board_put_numbers(struct board *board, const struct board_numbers *numbers);
void board_put_gathering(struct board *board, const char *cluster, enum gathering_part part,
                         const char *text, size_t length);
void board_put_failure(struct board *board, const char *cluster, enum gathering_part part,
                       const char *message);

/* The thread's side. How late the loop is to what it promised; 0 while it is in time. */
int64_t board_late_us(struct board *board);
void board_read_numbers(struct board *board, struct board_numbers *ret_numbers);
int board_view(struct board *board, const struct board_view **ret_view, struct error *err);

DEFINE_FREEP(struct board *, board_free)

#endif
