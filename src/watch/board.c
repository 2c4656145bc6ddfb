#include "watch/board.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Something new of a cluster, on its way to the thread; one per cluster and part at most. */
struct parcel {
    struct parcel *next;
    char cluster[JOURNAL_NAME_MAX];
    enum gathering_part part;
    char *text; /* NULL: it failed */
    size_t length;
    int64_t failures; /* how many it stands for */
    char failure[ERROR_MESSAGE_MAX];
};

struct owned_text {
    char *path, *text;
    size_t length;
};

struct board {
    char *journal_folder;
    atomic_llong wake_boot_us;
    pthread_mutex_t mutex; /* of what follows, up to the view */
    struct board_numbers numbers;
    struct parcel *parcels;
    struct owned_text *texts; /* NULL: nothing new */
    size_t text_count;
    /* The thread's alone. */
    struct board_view view;
    struct policy **policies;
};

static void free_texts(struct owned_text *texts, size_t count)
{
    for (size_t i = 0; i < count && texts; i++) {
        free(texts[i].path);
        free(texts[i].text);
    }
    free(texts);
}

static void free_parcels(struct parcel *parcel)
{
    while (parcel) {
        struct parcel *next = parcel->next;
        free(parcel->text);
        free(parcel);
        parcel = next;
    }
}

int board_new(const char *journal_folder, struct board **ret_board, struct error *err)
{
    struct board *board = calloc(1, sizeof(*board));
    if (!board)
        return error_no_memory(err);
    pthread_mutex_init(&board->mutex, NULL);
    atomic_store(&board->wake_boot_us, INT64_MAX);
    board->journal_folder = strdup(journal_folder);
    if (!board->journal_folder) {
        board_free(board);
        return error_no_memory(err);
    }
    *ret_board = board;
    return 0;
}

static void clear_clusters(struct board_cluster *clusters, size_t count)
{
    for (size_t i = 0; i < count && clusters; i++)
        for (size_t part = 0; part < GATHERING_PARTS; part++)
            if (clusters[i].parts[part].has_gathering)
                gathering_clear(&clusters[i].parts[part].gathering);
    free(clusters);
}

static void free_policies(struct policy **policies, size_t count)
{
    for (size_t i = 0; i < count && policies; i++)
        policy_free(policies[i]);
    free(policies);
}

struct board *board_free(struct board *board)
{
    if (!board)
        return NULL;
    free_texts(board->texts, board->text_count);
    free_parcels(board->parcels);
    clear_clusters(board->view.clusters, board->view.count);
    free_policies(board->policies, board->view.count);
    free(board->view.policies);
    pthread_mutex_destroy(&board->mutex);
    free(board->journal_folder);
    free(board);
    return NULL;
}

/* -- the loop's side ------------------------------------------------------------------------- */

int board_put_policies(struct board *board, const struct board_text *texts, size_t count,
                       struct error *err)
{
    struct owned_text *copies = calloc(count + 1, sizeof(*copies));
    bool is_whole = copies != NULL;
    for (size_t i = 0; i < count && is_whole; i++) {
        copies[i].path = strdup(texts[i].path);
        copies[i].text = strndup(texts[i].text, texts[i].length);
        copies[i].length = texts[i].length;
        is_whole = copies[i].path && copies[i].text;
    }
    if (!is_whole) {
        free_texts(copies, count);
        return error_no_memory(err);
    }
    pthread_mutex_lock(&board->mutex);
    struct owned_text *old = board->texts;
    size_t old_count = board->text_count;
    board->texts = copies;
    board->text_count = count;
    pthread_mutex_unlock(&board->mutex);
    free_texts(old, old_count);
    return 0;
}

void board_expect(struct board *board, int64_t wake_boot_us)
{
    atomic_store(&board->wake_boot_us, wake_boot_us);
}

void board_put_numbers(struct board *board, const struct board_numbers *numbers)
{
    pthread_mutex_lock(&board->mutex);
    board->numbers = *numbers;
    pthread_mutex_unlock(&board->mutex);
}

/* The newer one takes the place of one that was not fetched yet; failures add up. */
static void put_parcel(struct board *board, struct parcel *parcel)
{
    pthread_mutex_lock(&board->mutex);
    struct parcel **at = &board->parcels;
    while (*at && (strcmp((*at)->cluster, parcel->cluster) != 0 || (*at)->part != parcel->part))
        at = &(*at)->next;
    struct parcel *old = *at;
    if (old) {
        parcel->next = old->next;
        parcel->failures += old->failures;
        if (!parcel->text && old->text) { /* what was gathered before it failed is not lost */
            parcel->text = old->text;
            parcel->length = old->length;
            old->text = NULL;
        }
    }
    *at = parcel;
    pthread_mutex_unlock(&board->mutex);
    if (old)
        old->next = NULL;
    free_parcels(old);
}

static struct parcel *new_parcel(const char *cluster, enum gathering_part part)
{
    struct parcel *parcel = calloc(1, sizeof(*parcel));
    if (parcel) {
        snprintf(parcel->cluster, sizeof(parcel->cluster), "%s", cluster);
        parcel->part = part;
    }
    return parcel;
}

void board_put_failure(struct board *board, const char *cluster, enum gathering_part part,
                       const char *message)
{
    struct parcel *parcel = new_parcel(cluster, part);
    if (!parcel)
        return; /* what is shown grows old, and its age says so */
    parcel->failures = 1;
    snprintf(parcel->failure, sizeof(parcel->failure), "%s", message);
    put_parcel(board, parcel);
}

void board_put_gathering(struct board *board, const char *cluster, enum gathering_part part,
                         const char *text, size_t length)
{
    struct parcel *parcel = new_parcel(cluster, part);
    if (!parcel)
        return;
    parcel->text = strndup(text, length);
    parcel->length = length;
    if (parcel->text)
        put_parcel(board, parcel);
    else
        free_parcels(parcel);
}

/* -- the thread's side ----------------------------------------------------------------------- */

int64_t board_late_us(struct board *board)
{
    struct timespec now;
    int64_t wake_us = atomic_load(&board->wake_boot_us);
    clock_gettime(CLOCK_BOOTTIME, &now);
    int64_t now_us = (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
    return wake_us != INT64_MAX && now_us > wake_us + BOARD_LATE_US ? now_us - wake_us : 0;
}

void board_read_numbers(struct board *board, struct board_numbers *ret_numbers)
{
    pthread_mutex_lock(&board->mutex);
    *ret_numbers = board->numbers;
    pthread_mutex_unlock(&board->mutex);
}

static const char *get_environment(const char *name, void *context)
{
    (void)context;
    return getenv(name);
}

/* What was known of a cluster stays with it under the new policy. */
static void take_over(const struct board_view *old, struct board_cluster *cluster)
{
    for (size_t i = 0; i < old->count; i++) {
        if (strcmp(old->policies[i]->cluster, cluster->policy->cluster) != 0)
            continue;
        memcpy(cluster->parts, old->clusters[i].parts, sizeof(cluster->parts));
        memset(old->clusters[i].parts, 0, sizeof(cluster->parts));
    }
}

static int parse_policies(const struct owned_text *texts, size_t count, struct policy **policies,
                          struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++) {
        struct policy_problems problems = {0};
        rc = policy_parse(texts[i].path, texts[i].text, texts[i].length, get_environment, NULL,
                          &policies[i], &problems, err);
        policy_problems_clear(&problems);
    }
    return rc;
}

static int take_policies(struct board *board, const struct owned_text *texts, size_t count,
                         struct error *err)
{
    struct policy **policies = calloc(count + 1, sizeof(*policies));
    const struct policy **shown = calloc(count + 1, sizeof(*shown));
    struct board_cluster *clusters = calloc(count + 1, sizeof(*clusters));
    int rc = policies && shown && clusters ? parse_policies(texts, count, policies, err)
                                           : error_no_memory(err);
    if (rc) {
        free_policies(policies, count);
        free(shown);
        free(clusters);
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        clusters[i].policy = shown[i] = policies[i];
        take_over(&board->view, &clusters[i]);
    }
    clear_clusters(board->view.clusters, board->view.count);
    free_policies(board->policies, board->view.count);
    board->policies = policies;
    free(board->view.policies);
    board->view.policies = shown;
    board->view.clusters = clusters;
    board->view.count = count;
    return 0;
}

static bool is_up(const struct gathering *gathering, const char *label)
{
    for (size_t i = 0; i < gathering->samples.count; i++)
        if (gathering->samples.items[i].id == METRIC_FACTS_UP &&
            strstr(gathering->samples.items[i].labels, label))
            return gathering->samples.items[i].value > 0;
    return false;
}

/* How far WAL is behind needs both: without the repository it is not told anew either. */
static bool is_of(enum metric_id id, enum metric_source source)
{
    bool is_lag = id == METRIC_WAL_LAG_SECONDS || id == METRIC_WAL_LAG_SEGMENTS;
    return metric_row(id)->source == source || (is_lag && source == FROM_REPOSITORY);
}

/* An alarm must not end because nobody can look any more: what a source told before stays, with its
 * time. */
static void keep_source(const struct board_part *old, struct gathering *gathering,
                        enum metric_source source, bool other_is_up)
{
    for (size_t i = 0; i < old->gathering.samples.count; i++) {
        const struct sample *sample = &old->gathering.samples.items[i];
        bool is_both = is_of(sample->id, FROM_REPOSITORY) && is_of(sample->id, FROM_SERVER);
        if (is_of(sample->id, source) &&
            !(is_both && source == FROM_SERVER && !other_is_up)) /* the repository's turn */
            samples_copy(&gathering->samples, sample);
    }
}

static void replace_gathering(struct board_part *part, struct gathering *gathering)
{
    bool has_repository = is_up(gathering, "source=\"repository\"");
    bool has_server = is_up(gathering, "source=\"server\"");
    bool has_before = part->has_gathering && part->gathering.part == GATHERING_FACTS;
    if (has_before && !has_repository)
        keep_source(part, gathering, FROM_REPOSITORY, has_server);
    if (has_before && !has_server)
        keep_source(part, gathering, FROM_SERVER, has_repository);
    if (!part->has_gathering)
        part->repository_us = part->server_us = INSTANT_NONE;
    if (has_repository)
        part->repository_us = gathering->at_us;
    if (has_server)
        part->server_us = gathering->at_us;
    if (part->has_gathering)
        gathering_clear(&part->gathering);
    part->gathering = *gathering;
    part->has_gathering = true;
}

static void take_parcel(struct board *board, const struct parcel *parcel)
{
    for (size_t i = 0; i < board->view.count; i++) {
        struct board_part *part = &board->view.clusters[i].parts[parcel->part];
        struct gathering gathering;
        struct error err = ERROR_NONE;
        if (strcmp(board->view.policies[i]->cluster, parcel->cluster) != 0)
            continue;
        int rc = parcel->text ? gathering_read(parcel->text, parcel->length, &gathering, &err) : 0;
        if (!rc && parcel->text)
            replace_gathering(part, &gathering);
        part->failures += parcel->failures + (rc != 0);
        snprintf(part->failure, sizeof(part->failure), "%s", rc ? err.message : parcel->failure);
    }
}

int board_view(struct board *board, const struct board_view **ret_view, struct error *err)
{
    pthread_mutex_lock(&board->mutex);
    struct owned_text *texts = TAKE(board->texts);
    struct parcel *parcels = TAKE(board->parcels);
    size_t count = board->text_count;
    board->view.numbers = board->numbers;
    pthread_mutex_unlock(&board->mutex);
    board->view.journal_folder = board->journal_folder;
    int rc = texts ? take_policies(board, texts, count, err) : 0;
    for (const struct parcel *parcel = parcels; parcel; parcel = parcel->next)
        take_parcel(board, parcel);
    free_texts(texts, count);
    free_parcels(parcels);
    if (!rc)
        *ret_view = &board->view;
    return rc;
}
