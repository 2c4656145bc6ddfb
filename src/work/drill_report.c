#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/units.h"
#include "work/drill.h"

static void print_head(const json_t *details, FILE *file)
{
    char bytes[UNITS_TEXT_MAX];
    const char *target = json_text(details, "target_time");
    fprintf(file, "%s of job %s, %s%s%s: %s restored\n", json_text(details, "backup_id"),
            json_text(details, "of"),
            strcmp(json_text(details, "mode"), "latest") == 0   ? "to the end of the WAL"
            : strcmp(json_text(details, "mode"), "random") == 0 ? "to the random moment "
                                                                : "whole",
            target, "", size_format(json_number(details, "bytes"), bytes));
}

void drill_report_text(const json_t *details, FILE *file)
{
    const json_t *step;
    size_t i;
    if (json_text(details, "backup_id")[0])
        print_head(details, file);
    json_array_foreach(json_object_get(details, "steps"), i, step)
    {
        double seconds = json_real_value(json_object_get(step, "seconds"));
        fprintf(file, "  %-5s %s", json_text(step, "outcome"), json_text(step, "step"));
        if (json_text(step, "what")[0])
            fprintf(file, ": %s", json_text(step, "what"));
        if (seconds >= 0.05)
            fprintf(file, " (%.1fs)", seconds);
        fprintf(file, "\n");
    }
    fprintf(file, "restored in %.1fs, replayed in %.1fs: %s\n",
            json_real_value(json_object_get(details, "restore_seconds")),
            json_real_value(json_object_get(details, "replay_seconds")),
            json_text(details, "result"));
}
