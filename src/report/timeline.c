#include "report/timeline.h"

#include <string.h>

enum { WIDTH = 1000, LEFT = 130, ROW = 26, TOP = 22, TICKS = 6, GAPS_MAX = 200 };

/* Without a period the picture begins with the oldest backup, but not before this. */
#define SHOWN_US (90 * US_PER_DAY)

const char report_timeline_style[] =
    ".timeline{overflow-x:auto}.timeline svg{width:100%;min-width:640px;height:auto;display:block}"
    ".timeline text{font:11px system-ui,sans-serif;fill:var(--text,#5b6675)}"
    ".timeline .line{stroke:var(--line,#e3e8ee)}.timeline .ok{fill:var(--ok,#1a7f37)}"
    ".timeline .bad{fill:var(--bad,#b3261e)}.timeline .window{fill:var(--window,#2f6fdb)}"
    ".timeline .gone{fill:var(--ground,#fff);stroke:var(--gone,#9aa5b1)}"
    ".legend{font-size:12px;color:var(--text,#5b6675)}"
    /* On a phone it is wider than the screen, and the newest is seen first. */
    "@media(max-width:700px){.timeline{direction:rtl}.timeline svg{direction:ltr;min-width:520px}"
    ".timeline text{font-size:15px}}";

struct canvas {
    const struct audit_report *report;
    size_t shown_max;
    struct buf *out;
    int64_t from_us, to_us;
    int rows;
};

static double place(const struct canvas *canvas, int64_t at_us)
{
    double part = (double)(at_us - canvas->from_us) / (double)(canvas->to_us - canvas->from_us);
    part = part < 0 ? 0 : part > 1 ? 1 : part;
    return LEFT + part * (WIDTH - LEFT - 10);
}

static void find_span(struct canvas *canvas)
{
    const struct audit_report *report = canvas->report;
    canvas->to_us = report->now_us;
    canvas->from_us = report->now_us - US_PER_DAY;
    for (size_t i = 0; i < report->history_count; i++)
        if (report->history[i].started_us < canvas->from_us)
            canvas->from_us = report->history[i].started_us;
    if (canvas->from_us < report->now_us - SHOWN_US)
        canvas->from_us = report->now_us - SHOWN_US;
    if (report->period.from_us != INSTANT_NONE) {
        canvas->from_us = report->period.from_us;
        canvas->to_us = report->period.to_us;
    }
    if (canvas->to_us <= canvas->from_us)
        canvas->to_us = canvas->from_us + US_PER_HOUR;
}

static void add_label(struct canvas *canvas, const char *text)
{
    buf_addf(canvas->out, "<text x=\"0\" y=\"%d\">", TOP + canvas->rows * ROW + 15);
    report_escape(canvas->out, text);
    buf_add_text(canvas->out, "</text>");
    buf_addf(canvas->out, "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" class=\"line\"/>\n", LEFT,
             WIDTH - 10, TOP + canvas->rows * ROW + 11, TOP + canvas->rows * ROW + 11);
}

static void add_backup(struct canvas *canvas, const struct audit_backup *backup)
{
    char started[INSTANT_TEXT_MAX];
    bool is_gone = backup->removed_us != INSTANT_NONE;
    buf_addf(canvas->out,
             "<rect x=\"%.1f\" y=\"%d\" width=\"4\" height=\"14\" class=\"%s\"><title>",
             place(canvas, backup->started_us), TOP + canvas->rows * ROW + 4,
             is_gone           ? "gone"
             : backup->is_good ? "ok"
                               : "bad");
    report_escape(canvas->out, backup->id);
    buf_addf(canvas->out, " %s%s</title></rect>\n", instant_format(backup->started_us, started),
             is_gone           ? ", deleted"
             : backup->is_good ? ""
                               : ", not good");
}

/* The newest ones of a job, for a picture with more shows no more. */
static void add_job(struct canvas *canvas, size_t first, size_t count)
{
    const struct audit_report *report = canvas->report;
    const char *job = report->history[first].job;
    size_t skipped = count > canvas->shown_max ? count - canvas->shown_max : 0;
    add_label(canvas, *job ? job : "(no job)");
    for (size_t i = first + skipped; i < first + count; i++)
        if (report->history[i].started_us >= canvas->from_us &&
            report->history[i].started_us <= canvas->to_us)
            add_backup(canvas, &report->history[i]);
    canvas->rows++;
}

static void add_jobs(struct canvas *canvas)
{
    const struct audit_report *report = canvas->report;
    for (size_t first = 0; first < report->history_count;) {
        size_t count = 1;
        while (first + count < report->history_count &&
               strcmp(report->history[first].job, report->history[first + count].job) == 0)
            count++;
        add_job(canvas, first, count);
        first += count;
    }
}

static void add_bar(struct canvas *canvas, int64_t from_us, int64_t to_us, const char *class,
                    const char *what)
{
    char from[INSTANT_TEXT_MAX], to[INSTANT_TEXT_MAX];
    if (to_us < canvas->from_us || from_us > canvas->to_us)
        return;
    double begin = place(canvas, from_us), end = place(canvas, to_us);
    buf_addf(canvas->out,
             "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"10\" class=\"%s\"><title>%s %s to "
             "%s</title></rect>\n",
             begin, TOP + canvas->rows * ROW + 6, end - begin < 1.5 ? 1.5 : end - begin, class,
             what, instant_format(from_us, from), instant_format(to_us, to));
}

static void add_recovery(struct canvas *canvas)
{
    const struct continuity *continuity = &canvas->report->continuity;
    if (!canvas->report->has_continuity)
        return;
    add_label(canvas, "recovery window");
    for (size_t i = 0; i < continuity->window_count; i++)
        add_bar(canvas, continuity->windows[i].from_us, continuity->windows[i].to_us, "window",
                "any moment from");
    for (size_t i = 0; i < continuity->gap_count && i < GAPS_MAX; i++) {
        const struct continuity_gap *gap = &continuity->gaps[i];
        if ((gap->state == GAP_LOST || gap->state == GAP_ACKNOWLEDGED) &&
            gap->from_us != INSTANT_NONE)
            add_bar(canvas, gap->from_us,
                    gap->until_us == INSTANT_NONE ? canvas->to_us : gap->until_us, "bad",
                    "not recoverable:");
    }
    canvas->rows++;
}

/* The day; where several ticks fall on one, the hour too. */
static void format_tick(const struct canvas *canvas, int64_t at_us, char text[INSTANT_TEXT_MAX])
{
    instant_format(at_us, text);
    if (canvas->to_us - canvas->from_us >= TICKS * US_PER_DAY) {
        text[10] = '\0';
        return;
    }
    text[10] = ' ';
    text[16] = '\0';
    memmove(text, text + 5, 12); /* without the year */
}

static void add_axis(struct canvas *canvas)
{
    for (int i = 0; i <= TICKS; i++) {
        char text[INSTANT_TEXT_MAX];
        int64_t at_us = canvas->from_us + (canvas->to_us - canvas->from_us) / TICKS * i;
        format_tick(canvas, at_us, text);
        buf_addf(canvas->out,
                 "<text x=\"%.1f\" y=\"12\" text-anchor=\"%s\">%s</text><line x1=\"%.1f\" "
                 "x2=\"%.1f\" y1=\"16\" y2=\"%d\" class=\"line\"/>\n",
                 place(canvas, at_us),
                 i == TICKS ? "end"
                 : i        ? "middle"
                            : "start",
                 text, place(canvas, at_us), place(canvas, at_us), TOP + canvas->rows * ROW);
    }
}

static int count_rows(const struct audit_report *report)
{
    int rows = report->has_continuity;
    for (size_t i = 0; i < report->history_count; i++)
        rows += i == 0 || strcmp(report->history[i].job, report->history[i - 1].job) != 0;
    return rows;
}

void report_timeline(const struct audit_report *report, size_t shown_max, struct buf *out)
{
    struct canvas canvas = {.report = report, .shown_max = shown_max, .out = out};
    int rows = count_rows(report);
    if (rows == 0) {
        buf_add_text(out, "<p class=legend>No backups.</p>\n");
        return;
    }
    find_span(&canvas);
    buf_addf(out,
             "<div class=timeline tabindex=0><svg viewBox=\"0 0 %d %d\" role=\"img\" "
             "aria-label=\"timeline of backups and recovery window\">\n",
             WIDTH, TOP + rows * ROW + 6);
    canvas.rows = rows;
    add_axis(&canvas);
    canvas.rows = 0;
    add_jobs(&canvas);
    add_recovery(&canvas);
    buf_add_text(out, "</svg></div>\n<div class=legend>green: good; red: not good; hollow: deleted "
                      "since; blue: any moment can be recovered; red bar: lost</div>\n");
}
