#include "work/shell.h"

void shell_add_quoted(struct buf *script, const char *text)
{
    buf_add_text(script, "'");
    for (; *text; text++)
        buf_add(script, *text == '\'' ? "'\\''" : text, *text == '\'' ? 4 : 1);
    buf_add_text(script, "'");
}
