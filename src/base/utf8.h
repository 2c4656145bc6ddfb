/*
 * Text that may be cut amid a character, or come from a world of another encoding, made fit for
 * JSON and XML. Pure.
 */
#ifndef PGCAIRN_BASE_UTF8_H
#define PGCAIRN_BASE_UTF8_H

/* Every byte that is no part of valid UTF-8 (RFC 3629) becomes '?'. Returns text. */
char *utf8_mend(char *text);

#endif
