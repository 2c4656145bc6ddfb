#include "command/manual.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TITLE_MAX = 64 };

static const struct {
    const char *status, *meaning;
} STATUSES[] = {
    {"0", "done; of an audit: every control passed, warnings included"},
    {"1", "the work, or a control, failed"},
    {"2", "wrong usage or policy"},
    {"3", "could not tell: something was unreachable or unreadable"},
    {"4", "busy: another run holds the lock"},
    {"5", "interrupted"},
};

static const struct {
    const char *name, *help;
} VARIABLES[] =
    {
        {"PGCAIRN_POLICY", "the policy, or the folder of policies, when there is no -c"},
        {"STATE_DIRECTORY",
         "where the journal and the spool of WAL lie; else /var/lib/pgcairn for root "
         "and who may write there, else ~/.local/state/pgcairn"},
        {"TZ, PGPASSFILE, AWS_ACCESS_KEY_ID, ...",
         "as libpq and the AWS tools have them; and whatever "
         "a policy names as ${VARIABLE}"},
},
  FILES[] = {
      {"/etc/pgcairn/policies", "the policies, *.yaml and *.yml"},
      {"/etc/pgcairn/environment", "variables of pgcairn.service: DATABASE_URL and the like"},
      {"/var/lib/pgcairn", "the journal of runs and the spool; it may be lost"},
};

/* A hyphen of a command must stay one when it is copied out of the page; a line that begins with a
 * dot or an apostrophe must be no request. */
static void put_escaped(const char *text, size_t length)
{
    if (length > 0 && (text[0] == '.' || text[0] == '\''))
        fputs("\\&", stdout);
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\\')
            fputs("\\e", stdout);
        else if (text[i] == '-')
            fputs("\\-", stdout);
        else if (text[i] == '\'')
            fputs("\\(aq", stdout);
        else if (text[i] == '`')
            fputs("\\(ga", stdout);
        else if (text[i] == '~')
            fputs("\\(ti", stdout);
        else if (text[i] == '^')
            fputs("\\(ha", stdout);
        else
            putchar(text[i]);
    }
}

static void put(const char *text)
{
    put_escaped(text, strlen(text));
}

static void put_font(char font, const char *text)
{
    printf("\\f%c", font);
    put(text);
    fputs("\\fR", stdout);
}

/* A paragraph: the lines of a text with several are filled. */
static void put_lines(const char *text)
{
    for (size_t length; *text; text += length + (text[length] == '\n')) {
        length = strcspn(text, "\n");
        put_escaped(text, length);
        putchar('\n');
    }
}

static void put_section(const char *title)
{
    printf(".SH \"%s\"\n", title);
}

/* "pgcairn-wal-push" of "wal push"; "pgcairn" of NULL. */
static void page_name(const struct command *command, char name[TITLE_MAX])
{
    snprintf(name, TITLE_MAX, "pgcairn%s%s", command ? "-" : "", command ? command->name : "");
    for (char *c = name; *c; c++)
        if (*c == ' ')
            *c = '-';
}

static void put_head(const struct command *command, const char *summary)
{
    char name[TITLE_MAX], title[TITLE_MAX];
    page_name(command, name);
    for (size_t i = 0; i < TITLE_MAX; i++)
        title[i] = (char)toupper((unsigned char)name[i]);
    fputs(".TH ", stdout);
    put(title);
    printf(" 1 \"\" \"pgcairn %s\" \"pgcairn\"\n", PGCAIRN_VERSION);
    put_section("NAME");
    put(name);
    fputs(" \\- ", stdout);
    put(summary);
    putchar('\n');
    put_section("SYNOPSIS");
}

static void put_options(const struct command_option *option)
{
    for (; option && option->name; option++) {
        printf(".TP\n\\fB%s", option->name[1] ? "\\-\\-" : "\\-");
        put(option->name);
        fputs("\\fR", stdout);
        if (option->argument) {
            putchar(' ');
            put_font('I', option->argument);
        }
        putchar('\n');
        put_lines(option->help);
    }
}

static void put_statuses(const struct command *command)
{
    put_section("EXIT STATUS");
    for (size_t i = 0; i < ARRAY_SIZE(STATUSES); i++)
        printf(".TP\n\\fB%s\\fR\n%s\n", STATUSES[i].status, STATUSES[i].meaning);
    if (command && strcmp(command->name, "wal fetch") == 0)
        printf(
            ".PP\nAs a restore_command, other than that: 1 only when the file is certainly not there, "
            "126 on any doubt, which stops a recovery instead of ending it early.\n");
}

static void put_reference(const struct command *command)
{
    char name[TITLE_MAX];
    page_name(command, name);
    put_font('B', name);
    fputs("(1)", stdout);
}

/* The program, and the commands of the same group: those whose first word is the same. */
static void put_see_also(const struct command *command)
{
    size_t length = strcspn(command->name, " ");
    put_section("SEE ALSO");
    put_reference(NULL);
    for (const struct command *const *other = command_all(); *other; other++) {
        if (*other == command || strncmp((*other)->name, command->name, length) != 0 ||
            (*other)->name[length] != ' ')
            continue;
        fputs(",\n", stdout);
        put_reference(*other);
    }
    putchar('\n');
}

static int finish(struct error *err)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return error_set_errno(err, errno, "could not write to stdout");
    return 0;
}

int manual_print(const struct command *command, struct error *err)
{
    put_head(command, command->summary);
    fputs("\\fBpgcairn\\fR [\\fB\\-c\\fR \\fIFILE|DIR\\fR]... [\\fB\\-\\-json\\fR] "
          "[\\fB\\-q\\fR|\\fB\\-v\\fR] ",
          stdout);
    put_font('B', command->name);
    putchar(' ');
    put(command->usage);
    putchar('\n');
    if (command->options) {
        put_section("OPTIONS");
        put_options(command->options);
    }
    printf(".PP\nOptions before the command are those of \\fBpgcairn\\fR(1).\n");
    if (command->examples) {
        put_section("EXAMPLES");
        printf(".nf\n");
        put_lines(command->examples);
        printf(".fi\n");
    }
    put_statuses(command);
    put_see_also(command);
    return finish(err);
}

int manual_print_all(struct error *err)
{
    put_head(NULL, "backup, restore and maintenance of PostgreSQL by one policy");
    fputs("\\fBpgcairn\\fR [\\fB\\-c\\fR \\fIFILE|DIR\\fR]... [\\fB\\-\\-json\\fR] "
          "[\\fB\\-q\\fR|\\fB\\-v\\fR] \\fICOMMAND\\fR ...\n",
          stdout);
    put_section("DESCRIPTION");
    printf(
        "One policy file says what is backed up, when, where to and for how long, and what maintenance\n"
        "runs beside it. \\fBpgcairn daemon\\fR does that; the other commands look, restore, prove\n"
        "and prepare. Each has a page of its own.\n");
    put_section("OPTIONS");
    put_options(command_globals());
    put_section("COMMANDS");
    for (const struct command *const *command = command_all(); *command; command++) {
        printf(".TP\n");
        put_reference(*command);
        putchar('\n');
        put_lines((*command)->summary);
    }
    put_statuses(NULL);
    put_section("ENVIRONMENT");
    for (size_t i = 0; i < ARRAY_SIZE(VARIABLES); i++) {
        printf(".TP\n");
        put_font('B', VARIABLES[i].name);
        putchar('\n');
        put_lines(VARIABLES[i].help);
    }
    put_section("FILES");
    for (size_t i = 0; i < ARRAY_SIZE(FILES); i++) {
        printf(".TP\n");
        put_font('I', FILES[i].name);
        putchar('\n');
        put_lines(FILES[i].help);
    }
    put_section("SEE ALSO");
    printf("\\fBpgcairn\\-wal\\fR(1), /usr/share/doc/pgcairn\n");
    return finish(err);
}
