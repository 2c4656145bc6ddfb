#include "watch/metrics.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

static const struct metric METRICS[] = {
#define X(id, name, type, source, labels, help) {"pgcairn_" name, type, source, labels, help},
    METRIC_LIST(X)
#undef X
};

static const char *const TYPES[] = {"gauge", "counter"};
static const char *const SOURCES[] = {"daemon",     "journal", "gathering",
                                      "repository", "server",  "audit"};

const struct metric *metric_row(enum metric_id id)
{
    return &METRICS[id];
}

const char *metric_type_name(enum metric_type type)
{
    return TYPES[type];
}

const char *metric_source_name(enum metric_source source)
{
    return SOURCES[source];
}

size_t metric_label_count(enum metric_id id)
{
    const char *labels = METRICS[id].labels;
    size_t count = *labels != '\0';
    for (; *labels; labels++)
        count += *labels == ' ';
    return count;
}

/* -- samples --------------------------------------------------------------------------------- */

void samples_clear(struct samples *samples)
{
    for (size_t i = 0; i < samples->count; i++)
        free(samples->items[i].labels);
    free(samples->items);
    *samples = SAMPLES_INIT;
}

/* The text format escapes three characters; what is not UTF-8 would make the whole text invalid. */
static void add_value(struct buf *out, const char *value)
{
    char text[METRIC_LABEL_BYTES_MAX + 1];
    snprintf(text, sizeof(text), "%s", value);
    utf8_mend(text);
    for (const char *c = text; *c; c++) {
        if (*c == '\n') {
            buf_add_text(out, "\\n");
            continue;
        }
        if (*c == '\\' || *c == '"')
            buf_add(out, "\\", 1);
        buf_add(out, c, 1);
    }
}

static struct sample *new_sample(struct samples *samples)
{
    if (samples->count == SAMPLES_MAX)
        samples->failed = ERR_LIMIT;
    if (samples->failed)
        return NULL;
    if (samples->count == samples->allocated) {
        size_t room = samples->allocated ? 2 * samples->allocated : 256;
        struct sample *more = realloc(samples->items, room * sizeof(*more));
        if (!more) {
            samples->failed = ERR_MEMORY;
            return NULL;
        }
        samples->items = more;
        samples->allocated = room;
    }
    return &samples->items[samples->count];
}

/* Takes the text of the labels; a buffer that failed makes the samples fail. */
static void put_sample(struct samples *samples, enum metric_id id, double value, struct buf *labels)
{
    struct sample *sample = new_sample(samples);
    if (sample && labels->failed)
        samples->failed = labels->failed;
    char *text = sample && !samples->failed ? buf_steal(labels) : NULL;
    buf_clear(labels);
    if (!text) {
        samples->failed = samples->failed ? samples->failed : ERR_MEMORY;
        return;
    }
    *sample = (struct sample){.id = id, .value = value, .labels = text, .order = samples->count};
    samples->count++;
}

static void add_label(struct buf *out, const char *name, size_t length, const char *value)
{
    buf_addf(out, "%s%.*s=\"", out->length ? "," : "", (int)length, name);
    add_value(out, value);
    buf_add_text(out, "\"");
}

static void add_sample(struct samples *samples, enum metric_id id, double value, va_list values)
{
    struct buf labels = BUF_INIT(METRIC_LABELS_MAX * (2 * METRIC_LABEL_BYTES_MAX + 64));
    for (const char *name = METRICS[id].labels; *name;) {
        size_t length = strcspn(name, " ");
        add_label(&labels, name, length, va_arg(values, const char *));
        name += length + (name[length] == ' ');
    }
    put_sample(samples, id, value, &labels);
}

void samples_add(struct samples *samples, enum metric_id id, double value, ...)
{
    va_list values;
    va_start(values, value);
    add_sample(samples, id, value, values);
    va_end(values);
}

void samples_add_us(struct samples *samples, enum metric_id id, int64_t us, ...)
{
    va_list values;
    va_start(values, us);
    if (us != INSTANT_NONE)
        add_sample(samples, id, (double)us / (double)US_PER_SECOND, values);
    va_end(values);
}

int samples_failed(const struct samples *samples, struct error *err)
{
    if (samples->failed == ERR_LIMIT)
        return error_set(err, ERR_LIMIT, "there are more than %d samples of metrics", SAMPLES_MAX);
    return samples->failed ? error_no_memory(err) : 0;
}

void samples_copy(struct samples *into, const struct sample *sample)
{
    struct buf labels = BUF_INIT(METRIC_LABELS_MAX * (2 * METRIC_LABEL_BYTES_MAX + 64));
    buf_add_text(&labels, sample->labels);
    put_sample(into, sample->id, sample->value, &labels);
}

void samples_take(struct samples *into, struct samples *from)
{
    for (size_t i = 0; i < from->count; i++) {
        struct sample *sample = new_sample(into);
        if (!sample)
            break;
        *sample = from->items[i];
        sample->order = into->count++;
        from->items[i].labels = NULL;
    }
    if (from->failed && !into->failed)
        into->failed = from->failed;
    samples_clear(from);
}

/* -- the text -------------------------------------------------------------------------------- */

static int compare_samples(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Whole numbers as such, for 1.76e+09 is no time that anybody reads; else the shortest text that
 * is read as the same number. */
static void add_number(struct buf *out, double value)
{
    char text[32];
    if (value == floor(value) && fabs(value) < 1e15)
        snprintf(text, sizeof(text), "%.0f", value);
    else
        snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof(text), "%.17g", value);
    buf_addf(out, " %s\n", text);
}

int metrics_write(struct samples *samples, struct buf *out, struct error *err)
{
    int rc = samples_failed(samples, err);
    if (rc)
        return rc;
    if (samples->count > 0)
        qsort(samples->items, samples->count, sizeof(*samples->items), compare_samples);
    for (size_t i = 0; i < samples->count; i++) {
        const struct sample *sample = &samples->items[i];
        const struct metric *metric = &METRICS[sample->id];
        if (i == 0 || sample->id != samples->items[i - 1].id)
            buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
                     TYPES[metric->type]);
        buf_add_text(out, metric->name);
        if (*sample->labels)
            buf_addf(out, "{%s}", sample->labels);
        add_number(out, sample->value);
    }
    return buf_failed(out, "the text of the metrics", err);
}

/* -- JSON ------------------------------------------------------------------------------------ */

/* One value of the text of labels, its escapes undone, and the place behind it. */
static const char *read_value(const char *text, char value[METRIC_LABEL_BYTES_MAX + 1])
{
    size_t length = 0;
    for (; *text && *text != '"'; text++) {
        bool is_escape = *text == '\\' && text[1];
        text += is_escape;
        if (length < METRIC_LABEL_BYTES_MAX)
            value[length++] = is_escape && *text == 'n' ? '\n' : *text;
    }
    value[length] = '\0';
    return *text ? text + 1 : text;
}

static json_t *labels_to_json(const char *text)
{
    json_t *object = json_object();
    while (*text) {
        char name[64], value[METRIC_LABEL_BYTES_MAX + 1];
        size_t length = strcspn(text, "=");
        snprintf(name, sizeof(name), "%.*s", (int)length, text);
        text = read_value(text + length + 2, value);
        text += *text == ',';
        json_object_set_new(object, name, json_string(value));
    }
    return object;
}

json_t *samples_to_json(const struct samples *samples)
{
    json_t *list = json_array();
    for (size_t i = 0; i < samples->count && list; i++) {
        const struct sample *sample = &samples->items[i];
        json_t *entry = json_pack("{s:s, s:o, s:f}", "name", METRICS[sample->id].name, "labels",
                                  labels_to_json(sample->labels), "value", sample->value);
        if (json_array_append_new(list, entry)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static bool find_metric(const char *name, enum metric_id *ret_id)
{
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        if (strcmp(METRICS[i].name, name) == 0) {
            *ret_id = (enum metric_id)i;
            return true;
        }
    }
    return false;
}

static void take_entry(const json_t *entry, struct samples *samples)
{
    enum metric_id id;
    char name[64];
    const json_t *values = json_object_get(entry, "labels");
    struct buf labels = BUF_INIT(METRIC_LABELS_MAX * (2 * METRIC_LABEL_BYTES_MAX + 64));
    if (!find_metric(json_text(entry, "name"), &id))
        return;
    for (const char *label = METRICS[id].labels; *label;) {
        size_t length = strcspn(label, " ");
        snprintf(name, sizeof(name), "%.*s", (int)length, label);
        add_label(&labels, label, length, json_text(values, name));
        label += length + (label[length] == ' ');
    }
    put_sample(samples, id, json_number_value(json_object_get(entry, "value")), &labels);
}

int samples_from_json(const json_t *list, struct samples *ret_samples, struct error *err)
{
    struct samples samples = SAMPLES_INIT;
    size_t i;
    const json_t *entry;
    if (!json_is_array(list))
        return error_set(err, ERR_CORRUPT, "there is no list of samples");
    json_array_foreach(list, i, entry) take_entry(entry, &samples);
    int rc = samples_failed(&samples, err);
    if (rc)
        samples_clear(&samples);
    else
        *ret_samples = samples;
    return rc;
}
