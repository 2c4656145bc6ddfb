/*
 * A token that callers must know, from a file that only its owner may read: compared in constant
 * time, whatever was given. Only its hash is kept.
 */
#ifndef PGCAIRN_WATCH_TOKEN_H
#define PGCAIRN_WATCH_TOKEN_H

#include "base/error.h"

enum { TOKEN_HASH = 32 };

struct token {
    unsigned char hash[TOKEN_HASH];
};

/* The first line of the file. ERR_PERMISSION when others can read it, ERR_USAGE when the token is
 * too short or too long. */
int token_read(const char *path, struct token *ret_token, struct error *err);

/* Whether the value of an Authorization header (NULL: none) holds it: "Bearer TOKEN", or "Basic"
 * with it as the password. */
bool token_matches(const struct token *token, const char *authorization);

#endif
