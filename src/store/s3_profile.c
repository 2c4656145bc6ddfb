#include "store/s3_profile.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "store/s3_secret.h"

/* All texts lie in the file's buffer. */
struct s3_profile_entry {
    const char *section; /* "profile NAME" as written between the brackets */
    const char *parent;  /* the setting that this one is indented under, or NULL */
    const char *key;     /* NULL: the entry says only that the section exists */
    const char *value;
};

struct cursor {
    struct s3_profile_file *file;
    const char *section;
    const char *last; /* the setting that deeper lines belong to, and its indentation */
    size_t indent;
    int line;
};

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

/* Ends the text where a comment begins: '#' or ';' behind a blank. */
static void cut_comment(char *text)
{
    for (char *c = text; *c; c++)
        if ((*c == '#' || *c == ';') && (c == text || isspace((unsigned char)c[-1]))) {
            *c = '\0';
            return;
        }
}

static int malformed(const struct cursor *at, const char *what, struct error *err)
{
    error_set(err, ERR_USAGE, "%s:%d: %s", at->file->path, at->line, what);
    return error_hint(err,
                      "lines are \"[section]\", \"name = value\" or begin with # (line %d of "
                      "\"%s\")",
                      at->line, at->file->path);
}

static void add_entry(struct cursor *at, const char *parent, const char *key, const char *value)
{
    at->file->entries[at->file->count++] = (struct s3_profile_entry){
        .section = at->section, .parent = parent, .key = key, .value = value};
}

static int read_section(struct cursor *at, char *text, struct error *err)
{
    char *end = strchr(text, ']');
    if (!end)
        return malformed(at, "a section without \"]\"", err);
    *end = '\0';
    cut_comment(end + 1);
    if (*trim(end + 1))
        return malformed(at, "text behind the \"]\" of a section", err);
    at->section = trim(text + 1);
    at->last = NULL;
    at->indent = 0;
    add_entry(at, NULL, NULL, NULL);
    return 0;
}

static int read_setting(struct cursor *at, char *text, size_t indent, struct error *err)
{
    char *equals = strchr(text, '=');
    bool is_nested = at->last && indent > at->indent;
    if (!equals && is_nested)
        return 0; /* a value that goes on, as none does that is read here */
    if (!equals || equals == text)
        return malformed(at, equals ? "no name before the \"=\"" : "no \"=\"", err);
    if (!at->section)
        return malformed(at, "a setting before the first section", err);
    *equals = '\0';
    cut_comment(equals + 1);
    const char *key = trim(text);
    add_entry(at, is_nested ? at->last : NULL, key, trim(equals + 1));
    if (!is_nested) {
        at->last = key;
        at->indent = indent;
    }
    return 0;
}

static int read_line(struct cursor *at, char *line, struct error *err)
{
    at->line++;
    size_t indent = strspn(line, " \t");
    char *text = trim(line);
    if (!*text || *text == '#' || *text == ';')
        return 0;
    return *text == '[' ? read_section(at, text, err) : read_setting(at, text, indent, err);
}

static int parse(struct s3_profile_file *file, struct error *err)
{
    char *next = file->text.data;
    if (strlen(next) != file->text.length) {
        error_set(err, ERR_USAGE, "\"%s\" is no text: it holds a NUL byte", file->path);
        return error_hint(err, "write \"%s\" anew, or name another file", file->path);
    }
    size_t lines = 1;
    for (const char *c = next; (c = strchr(c, '\n')); c++)
        lines++;
    file->entries = calloc(lines, sizeof(*file->entries));
    if (!file->entries)
        return error_no_memory(err);
    if (strncmp(next, "\xEF\xBB\xBF", 3) == 0) /* the byte order mark of some editors */
        next += 3;
    struct cursor at = {.file = file};
    int rc = 0;
    while (next && !rc) {
        char *line = next, *end = strchr(line, '\n');
        next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        rc = read_line(&at, line, err);
    }
    return rc;
}

/* Whether what follows a kind of section ("profile") is this name, bare or in quotes. */
static bool is_section(const char *section, const char *kind, const char *name)
{
    size_t length = strlen(kind);
    if (strncmp(section, kind, length) != 0 || !isspace((unsigned char)section[length]))
        return false;
    section += length;
    while (isspace((unsigned char)*section))
        section++;
    size_t left = strlen(section);
    bool is_quoted =
        left >= 2 && (*section == '"' || *section == '\'') && section[left - 1] == *section;
    if (is_quoted) {
        section++;
        left -= 2;
    }
    return strlen(name) == left && memcmp(section, name, left) == 0;
}

static bool has_section(const struct s3_profile_file *file, const char *kind, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (is_section(file->entries[i].section, kind, name))
            return true;
    return false;
}

/* In config "[profile default]", where it is written, counts in place of "[default]". */
static bool belongs(const struct s3_profile_file *file, const char *section, const char *name)
{
    if (!file->is_config)
        return strcmp(section, name) == 0;
    if (is_section(section, "profile", name))
        return true;
    return strcmp(name, "default") == 0 && strcmp(section, "default") == 0 &&
           !has_section(file, "profile", "default");
}

static const char *or_null(const char *text)
{
    return text && *text ? text : NULL;
}

const char *s3_profile_file_get(const struct s3_profile *profile,
                                const struct s3_profile_file *file, const char *key)
{
    for (size_t i = file->count; i-- > 0;) {
        const struct s3_profile_entry *entry = &file->entries[i];
        if (entry->key && !entry->parent && strcasecmp(entry->key, key) == 0 &&
            belongs(file, entry->section, profile->name))
            return or_null(entry->value);
    }
    return NULL;
}

const char *s3_profile_get(const struct s3_profile *profile, const char *key)
{
    const char *value = s3_profile_file_get(profile, &profile->credentials, key);
    return value ? value : s3_profile_file_get(profile, &profile->config, key);
}

const char *s3_profile_endpoint(const struct s3_profile *profile, const char *service)
{
    const struct s3_profile_file *file = &profile->config;
    const char *services = s3_profile_get(profile, "services");
    for (size_t i = services ? file->count : 0; i-- > 0;) {
        const struct s3_profile_entry *entry = &file->entries[i];
        if (entry->parent && strcasecmp(entry->parent, service) == 0 &&
            strcasecmp(entry->key, "endpoint_url") == 0 && *entry->value &&
            is_section(entry->section, "services", services))
            return entry->value;
    }
    return s3_profile_get(profile, "endpoint_url");
}

/* Where the home folder is; "" when that is not known. */
static void find_home(char home[S3_PROFILE_PATH_MAX])
{
    const char *variable = getenv("HOME");
    struct passwd entry, *found = NULL;
    char names[4096];
    if (!variable || !*variable) {
        getpwuid_r(geteuid(), &entry, names, sizeof(names), &found);
        variable = found && found->pw_dir ? found->pw_dir : "";
    }
    snprintf(home, S3_PROFILE_PATH_MAX, "%s", variable);
}

static int find_path(struct s3_profile_file *file, const char *variable, const char *name,
                     struct error *err)
{
    char home[S3_PROFILE_PATH_MAX];
    find_home(home);
    const char *path = or_null(getenv(variable));
    file->is_named = path != NULL;
    int length = 0;
    if (!path)
        length = *home ? snprintf(file->path, sizeof(file->path), "%s/.aws/%s", home, name) : 0;
    else if (strncmp(path, "~/", 2) == 0)
        length = snprintf(file->path, sizeof(file->path), "%s%s", home, path + 1);
    else
        length = snprintf(file->path, sizeof(file->path), "%s", path);
    if (length < (int)sizeof(file->path))
        return 0;
    file->path[0] = '\0';
    error_set(err, ERR_LIMIT, "the path of ~/.aws/%s is longer than %d bytes", name,
              S3_PROFILE_PATH_MAX - 1);
    return error_hint(err, "set %s to a shorter one", variable);
}

static bool holds_secrets(const struct s3_profile_file *file)
{
    static const char *const SECRETS[] = {"aws_secret_access_key", "aws_session_token"};
    for (size_t i = 0; i < file->count; i++)
        for (size_t j = 0; j < ARRAY_SIZE(SECRETS); j++)
            if (file->entries[i].key && strcasecmp(file->entries[i].key, SECRETS[j]) == 0)
                return true;
    return false;
}

/* A file that nobody named and whose folder may not even be entered is as good as absent: a service
 * often runs with the home of another. */
static bool is_absent(const struct s3_profile_file *file, int rc)
{
    struct stat st;
    if (rc != ERR_NOT_FOUND && rc != ERR_PERMISSION && rc != ERR_IO)
        return false;
    if (stat(file->path, &st) == 0)
        return false;
    return errno == ENOENT || errno == ENOTDIR || (errno == EACCES && !file->is_named);
}

static int read_file(struct s3_profile *profile, struct s3_profile_file *file, struct error *err)
{
    struct error reason = ERROR_NONE;
    unsigned mode = 0;
    if (!*file->path) {
        file->is_absent = true;
        return 0;
    }
    enum s3_secret_kind kind = file->is_config ? S3_SECRET_MIXED : S3_SECRET_KEYS;
    int rc = s3_secret_read(file->path, kind, S3_PROFILE_FILE_MAX, &file->text, &mode, &reason);
    if (rc && is_absent(file, rc)) {
        file->is_absent = true;
        return 0;
    }
    if (!rc)
        rc = parse(file, &reason);
    if (!rc && file->is_config && holds_secrets(file))
        rc = s3_secret_check(file->path, mode, &reason);
    if (rc && err)
        *err = reason;
    for (size_t i = 0; !rc && i < file->count; i++)
        file->has_profile |= belongs(file, file->entries[i].section, profile->name);
    return rc;
}

static int no_such_profile(const struct s3_profile *profile, struct error *err)
{
    const struct s3_profile_file *config = &profile->config;
    error_set(err, ERR_USAGE, "profile \"%s\" is neither in \"%s\"%s nor in \"%s\"%s",
              profile->name, profile->credentials.path,
              profile->credentials.is_absent ? " (which is not there)" : "", config->path,
              config->is_absent ? " (which is not there)" : "");
    for (size_t i = 0; i < config->count; i++)
        if (strcmp(config->entries[i].section, profile->name) == 0)
            return error_hint(err, "in \"%s\" write [profile %s] in place of [%s]", config->path,
                              profile->name, profile->name);
    return error_hint(err, "check profile: in the policy, or AWS_PROFILE");
}

int s3_profile_read(const char *name, struct s3_profile *ret_profile, struct error *err)
{
    struct s3_profile *profile = ret_profile;
    *profile = (struct s3_profile){.config.is_config = true};
    const char *wanted = or_null(name) ? name : or_null(getenv("AWS_PROFILE"));
    profile->is_named = wanted != NULL;
    int length = snprintf(profile->name, sizeof(profile->name), "%s", wanted ? wanted : "default");
    if (length >= (int)sizeof(profile->name)) {
        error_set(err, ERR_LIMIT, "the name of a profile is longer than %d bytes",
                  S3_PROFILE_NAME_MAX - 1);
        return error_hint(err, "check profile: in the policy, or AWS_PROFILE");
    }
    int rc = find_path(&profile->credentials, "AWS_SHARED_CREDENTIALS_FILE", "credentials", err);
    if (!rc)
        rc = find_path(&profile->config, "AWS_CONFIG_FILE", "config", err);
    if (!rc)
        rc = read_file(profile, &profile->credentials, err);
    if (!rc)
        rc = read_file(profile, &profile->config, err);
    if (!rc && profile->is_named && !profile->credentials.has_profile &&
        !profile->config.has_profile)
        rc = no_such_profile(profile, err);
    return rc;
}

void s3_profile_clear(struct s3_profile *profile)
{
    s3_secret_clear(&profile->credentials.text);
    s3_secret_clear(&profile->config.text);
    free(profile->credentials.entries);
    free(profile->config.entries);
    *profile = (struct s3_profile){.config.is_config = true};
}
