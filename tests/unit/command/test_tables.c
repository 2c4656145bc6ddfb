/* The tables of the real commands are such as the parser and the help need them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "command/commands.h"

static const struct command *const COMMANDS[] = {
#define X(name) &name,
    COMMAND_LIST(X)
#undef X
};

static void check_option(const struct command *command, size_t index)
{
    const struct command_option *option = &command->options[index];
    if (!option->help || !*option->help || strlen(option->name) > 20 ||
        strspn(option->name, "abcdefghijklmnopqrstuvwxyz-") != strlen(option->name) ||
        (option->argument == NULL) != (option->kind == OPTION_FLAG))
        fail_msg("%s --%s", command->name, option->name);
    for (size_t i = 0; i < index; i++)
        if (strcmp(command->options[i].name, option->name) == 0)
            fail_msg("%s --%s twice", command->name, option->name);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(COMMANDS); i++) {
        const struct command *command = COMMANDS[i];
        size_t count = 0;
        for (; command->options && command->options[count].name; count++)
            check_option(command, count);
        if (count > COMMAND_OPTIONS_MAX || !command->run || !command->usage || !command->summary ||
            !*command->summary || command->min_words < 0 ||
            (command->max_words >= 0 && command->max_words < command->min_words))
            fail_msg("%s: a broken row", command->name);
        for (size_t j = 0; j < i; j++)
            if (strcmp(COMMANDS[j]->name, command->name) == 0)
                fail_msg("%s twice", command->name);
    }
}

/* An example is a call of the command that it explains. */
static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(COMMANDS); i++) {
        const char *examples = COMMANDS[i]->examples;
        if (examples && (!strstr(examples, "pgcairn ") || !strstr(examples, COMMANDS[i]->name)))
            fail_msg("%s: %s", COMMANDS[i]->name, examples);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_examples)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
