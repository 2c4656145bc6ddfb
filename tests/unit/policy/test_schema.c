/* policies/policy.schema.json knows every key of the tables and no other, with the same words and
 * ranges. */
#include "policy_case.h"

#include "base/file.h"
#include "base/json.h"
#include "policy/keys.h"

static json_t *schema;

static const json_t *resolve(const json_t *node)
{
    static const char PREFIX[] = "#/$defs/";
    const char *reference = json_text(node, "$ref");
    if (strncmp(reference, PREFIX, strlen(PREFIX)) != 0)
        return node;
    const json_t *found =
        json_object_get(json_object_get(schema, "$defs"), reference + strlen(PREFIX));
    if (!found)
        fail_msg("%s is not there", reference);
    return found;
}

static const struct key *find(const struct section *section, const char *name)
{
    for (; section; section = section->also)
        for (size_t i = 0; i < section->count; i++)
            if (strcmp(section->keys[i].name, name) == 0)
                return &section->keys[i];
    return NULL;
}

static void check_words(const char *path, const struct key *key, const json_t *node)
{
    const json_t *words = json_object_get(node, "enum");
    size_t count = 0;
    for (; key->words[count]; count++) {
        const char *word = json_string_value(json_array_get(words, count));
        if (!word || strcmp(word, key->words[count]) != 0)
            fail_msg("%s.%s: word %zu is \"%s\", not \"%s\"", path, key->name, count,
                     key->words[count], word ? word : "");
    }
    assert_int_equal(json_array_size(words), count);
}

static void check_section(const char *path, const struct section *section, const json_t *node);

static void check_key(const char *path, const struct key *key, const json_t *given)
{
    const json_t *node = resolve(given);
    char inner[200];
    snprintf(inner, sizeof(inner), "%s.%s", path, key->name);
    if (key->type == VALUE_WORD)
        check_words(path, key, node);
    if (key->type == VALUE_WORDS) /* one word, or a list of them */
        check_words(path, key, resolve(json_array_get(json_object_get(node, "anyOf"), 0)));
    if (key->type == VALUE_INTEGER &&
        (json_number(node, "minimum") != key->low || json_number(node, "maximum") != key->high))
        fail_msg("%s: from %lld to %lld", inner, (long long)key->low, (long long)key->high);
    if (key->type == VALUE_DURATION &&
        node != resolve(json_object_get(json_object_get(schema, "$defs"), "duration")))
        fail_msg("%s is no duration", inner);
    if (!key->section)
        return;
    const json_t *items = json_object_get(node, "items");
    check_section(inner, key->section, items ? resolve(items) : node);
}

static void check_section(const char *path, const struct section *section, const json_t *node)
{
    json_t *properties = json_object_get(node, "properties");
    const char *name;
    json_t *property;
    for (const struct section *part = section; part; part = part->also)
        for (size_t i = 0; i < part->count; i++) {
            property = json_object_get(properties, part->keys[i].name);
            if (!property)
                fail_msg("%s.%s is not in the schema", path, part->keys[i].name);
            check_key(path, &part->keys[i], property);
        }
    json_object_foreach(properties, name, property)
    {
        if (!find(section, name))
            fail_msg("%s.%s is in the schema, and no key", path, name);
    }
    assert_true(json_is_false(json_object_get(node, "additionalProperties")));
}

static void test_schema(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(1 << 20);
    struct error err = ERROR_NONE;
    assert_int_equal(file_read(SOURCE_DIR "/policies/policy.schema.json", &text, &err), 0);
    assert_int_equal(json_parse_object(buf_text(&text), text.length, "schema", &schema, &err), 0);
    check_section("policy", &section_policy, schema);
    const json_t *job = json_object_get(json_object_get(schema, "$defs"), "job");
    check_section("job", &section_job, job);
    const json_t *types =
        json_object_get(json_object_get(json_object_get(job, "properties"), "type"), "enum");
    assert_int_equal(json_array_size(types), JOB_TYPE_COUNT);
    for (size_t i = 0; i < JOB_TYPE_COUNT; i++)
        assert_string_equal(json_string_value(json_array_get(types, i)),
                            job_type_name((enum job_type)i));
    json_decref(schema);
    buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_schema)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
