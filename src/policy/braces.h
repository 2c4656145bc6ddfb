/*
 * ${VAR} without quotes inside {...} is no YAML: a brace ends a plain value there. People write it
 * all the same, and it can only mean one thing. So the braces of each ${...} are stood in for by
 * two characters of the private use area before libyaml reads the text, and put back into every
 * value after; columns, counted in characters, stay what they are.
 */
#ifndef PGCAIRN_POLICY_BRACES_H
#define PGCAIRN_POLICY_BRACES_H

#include "base/buf.h"

/* Adds the text to out with the braces hidden. ERR_POLICY when it holds the stand-ins itself. */
int braces_hide(const char *text, size_t length, struct buf *out, struct error *err);

/* Puts the braces back, in place. */
void braces_show(char *text);

#endif
