#include "store/store.h"

#include <string.h>

#include "store/store_ops.h"

enum { GET_CHUNK = 64 << 10 };

/* One row per kind of store. */
static const struct store_ops *const KINDS[] = {&store_file_ops, &store_s3_ops};

static const struct store_ops *kind_of(const char *url)
{
    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++)
        if (strncmp(url, KINDS[i]->scheme, strlen(KINDS[i]->scheme)) == 0)
            return KINDS[i];
    return NULL;
}

int store_url_check(const char *url, struct error *err)
{
    const struct store_ops *kind = kind_of(url);
    if (kind)
        return kind->check_url(url, err);
    error_set(err, ERR_USAGE, "\"%s\" is no repository URL", url);
    return error_hint(err, "write it as file:///absolute/path or s3://bucket/prefix");
}

int store_open(const char *url, const struct store_options *options, struct store **ret_store,
               struct error *err)
{
    static const struct store_options DEFAULTS = {.s3 = {.region = NULL}};
    int rc = store_url_check(url, err);
    if (rc)
        return rc;
    const struct store_ops *kind = kind_of(url);
    _cleanup_(store_freep) struct store *store = NULL;
    rc = kind->open(url, options ? options : &DEFAULTS, &store, err);
    if (rc)
        return rc;
    store->ops = kind;
    store->list_batch = STORE_LIST_BATCH;
    store->url = strdup(url);
    if (!store->url)
        return error_no_memory(err);
    *ret_store = TAKE(store);
    return 0;
}

struct store *store_free(struct store *store)
{
    if (store) {
        free(store->url);
        store->ops->free(store);
    }
    return NULL;
}

const char *store_url(const struct store *store)
{
    return store->url;
}

void store_stop(struct store *store)
{
    if (store->ops->stop)
        store->ops->stop(store);
}

static bool is_key_character(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '=' || c == '-';
}

/* What a key and a prefix of keys have in common; a prefix may be empty or end anywhere. */
static bool is_key_start(const char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++) {
        bool begins_segment = i == 0 || text[i - 1] == '/';
        if (text[i] == '/' ? begins_segment : !is_key_character(text[i]))
            return false;
        if (begins_segment && text[i] == '.')
            return false;
    }
    return length <= STORE_KEY_MAX;
}

int store_key_check(const char *key, struct error *err)
{
    size_t length = strlen(key);
    if (length > 0 && key[length - 1] != '/' && is_key_start(key))
        return 0;
    return error_set(err, ERR_USAGE, "\"%.300s\" can't be the name of a stored object", key);
}

static int check_prefix(const char *prefix, struct error *err)
{
    if (is_key_start(prefix))
        return 0;
    return error_set(err, ERR_USAGE, "no stored object has a name that begins with \"%.300s\"",
                     prefix);
}

int store_create(struct store *store, const char *key, unsigned flags,
                 struct store_writer **ret_writer, struct error *err)
{
    int rc = store_key_check(key, err);
    struct store_writer *writer = NULL;
    if (!rc)
        rc = store->ops->create(store, key, flags, &writer, err);
    if (rc)
        return rc;
    writer->store = store;
    writer->flags = flags;
    memcpy(writer->key, key, strlen(key) + 1);
    *ret_writer = writer;
    return 0;
}

static int check_writer(const struct store_writer *writer, struct error *err)
{
    if (!writer->ended)
        return 0;
    return error_set(err, ERR_FAILED, "\"%s\": the write has ended or failed already", writer->key);
}

int store_write(struct store_writer *writer, const void *data, size_t length, struct error *err)
{
    int rc = check_writer(writer, err);
    if (!rc) {
        rc = writer->store->ops->write(writer, data, length, err);
        writer->ended = rc != 0;
    }
    return rc;
}

int store_commit(struct store_writer *writer, struct store_object *ret_object, struct error *err)
{
    int rc = check_writer(writer, err);
    if (rc)
        return rc;
    struct store_object object = {.locked_until_us = INSTANT_NONE};
    writer->ended = true;
    rc = writer->store->ops->commit(writer, &object, err);
    if (rc)
        return rc;
    memcpy(object.key, writer->key, sizeof(object.key));
    if (ret_object)
        *ret_object = object;
    return 0;
}

struct store_writer *store_writer_free(struct store_writer *writer)
{
    if (writer)
        writer->store->ops->writer_free(writer);
    return NULL;
}

int store_put(struct store *store, const char *key, const void *data, size_t length, unsigned flags,
              struct error *err)
{
    _cleanup_(store_writer_freep) struct store_writer *writer = NULL;
    int rc = store_create(store, key, flags, &writer, err);
    if (!rc)
        rc = store_write(writer, data, length, err);
    return rc ? rc : store_commit(writer, NULL, err);
}

int store_read_open(struct store *store, const char *key, int64_t offset, int64_t length,
                    struct store_reader **ret_reader, struct error *err)
{
    int rc = store_key_check(key, err);
    if (!rc && (offset < 0 || length < STORE_READ_TO_END))
        rc = error_set(err, ERR_USAGE, "\"%s\": a range can't begin or end below 0", key);
    struct store_reader *reader = NULL;
    if (!rc)
        rc = store->ops->read_open(store, key, offset, length, &reader, err);
    if (rc)
        return rc;
    reader->store = store;
    memcpy(reader->key, key, strlen(key) + 1);
    *ret_reader = reader;
    return 0;
}

int store_read(struct store_reader *reader, void *data, size_t size, size_t *ret_length,
               struct error *err)
{
    return reader->store->ops->read(reader, data, size, ret_length, err);
}

struct store_reader *store_reader_free(struct store_reader *reader)
{
    if (reader)
        reader->store->ops->reader_free(reader);
    return NULL;
}

int store_get(struct store *store, const char *key, struct buf *buf, struct error *err)
{
    _cleanup_(store_reader_freep) struct store_reader *reader = NULL;
    int rc = store_read_open(store, key, 0, STORE_READ_TO_END, &reader, err);
    for (size_t n = 1; !rc && n > 0;) {
        size_t room = buf->limit - buf->length;
        size_t size = room == 0 ? 1 : room < GET_CHUNK ? room : GET_CHUNK;
        char spare; /* asks a full buffer whether the object ends here */
        char *to = room == 0 ? &spare : buf_reserve(buf, size);
        if (!to)
            return buf_failed(buf, key, err);
        rc = store_read(reader, to, size, &n, err);
        if (!rc && n > 0 && room == 0)
            return error_set(err, ERR_LIMIT, "\"%s\" is larger than %zu bytes", key, buf->limit);
        buf->length += rc ? 0 : n;
        if (buf->data)
            buf->data[buf->length] = '\0';
    }
    return rc;
}

int store_stat(struct store *store, const char *key, struct store_object *ret_object,
               struct error *err)
{
    int rc = store_key_check(key, err);
    return rc ? rc : store->ops->stat(store, key, ret_object, err);
}

int store_list(struct store *store, const char *prefix, bool delimiter, store_visit visit,
               void *context, struct error *err)
{
    int rc = check_prefix(prefix, err);
    return rc ? rc : store->ops->list(store, prefix, delimiter, visit, context, err);
}

int store_list_unfinished(struct store *store, int64_t before_us, store_visit visit, void *context,
                          struct error *err)
{
    return store->ops->list_unfinished(store, before_us, visit, context, err);
}

int store_remove_unfinished(struct store *store, const char *key, int64_t before_us,
                            struct error *err)
{
    int rc = store_key_check(key, err);
    return rc ? rc : store->ops->remove_unfinished(store, key, before_us, err);
}

int store_delete(struct store *store, const char *key, struct error *err)
{
    int rc = store_key_check(key, err);
    return rc ? rc : store->ops->delete (store, key, err);
}

static int delete_one_by_one(struct store *store, char *const *keys, size_t count,
                             store_refused refused, void *context, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++) {
        struct error reason = ERROR_NONE;
        if (store->ops->delete (store, keys[i], &reason))
            rc = refused(keys[i], &reason, context, err);
    }
    return rc;
}

int store_delete_many(struct store *store, char *const *keys, size_t count, store_refused refused,
                      void *context, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++)
        rc = store_key_check(keys[i], err);
    if (rc || count == 0)
        return rc;
    return (store->ops->delete_many ? store->ops->delete_many
                                    : delete_one_by_one)(store, keys, count, refused, context, err);
}

int store_read_traits(struct store *store, struct store_traits *ret_traits, struct error *err)
{
    struct store_traits traits = {.versioning = STORE_VERSIONING_OFF};
    traits.clock_offset_us = INSTANT_NONE;
    int rc = store->ops->read_traits ? store->ops->read_traits(store, &traits, err) : 0;
    if (!rc)
        *ret_traits = traits;
    return rc;
}

void store_traits_clear(struct store_traits *traits)
{
    free(traits->rules);
    *traits = (struct store_traits){.versioning = STORE_VERSIONING_OFF};
}
