#include "watch/token.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "watch/http.h"

static void hash_of(const char *text, size_t length, unsigned char hash[TOKEN_HASH])
{
    unsigned int size = 0;
    memset(hash, 0, TOKEN_HASH);
    EVP_Digest(text, length, hash, &size, EVP_sha256(), NULL);
}

static int check_mode(const char *path, struct error *err)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return error_set_errno(err, errno, "could not read the token file \"%s\"", path);
    if ((status.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) == 0)
        return 0;
    error_set(err, ERR_PERMISSION, "token file \"%s\" can be read by others", path);
    return error_hint(err, "chmod 600 %s", path);
}

int token_read(const char *path, struct token *ret_token, struct error *err)
{
    struct buf text = BUF_INIT(HTTP_TOKEN_MAX + 2);
    int rc = check_mode(path, err);
    if (!rc)
        rc = file_read(path, &text, err);
    size_t length = strcspn(buf_text(&text), "\r\n");
    if (!rc && (length < HTTP_TOKEN_MIN || length > HTTP_TOKEN_MAX)) {
        error_set(err, ERR_USAGE, "the token in \"%s\" has %zu bytes, not %d to %d", path, length,
                  HTTP_TOKEN_MIN, HTTP_TOKEN_MAX);
        rc = error_hint(err, "make one: (umask 077; openssl rand -hex 32 > %s)", path);
    }
    if (!rc)
        hash_of(buf_text(&text), length, ret_token->hash);
    if (text.data)
        OPENSSL_cleanse(text.data, text.length);
    buf_clear(&text);
    return rc;
}

static bool is_token(const struct token *token, const char *text)
{
    unsigned char hash[TOKEN_HASH];
    hash_of(text, strlen(text), hash);
    return CRYPTO_memcmp(hash, token->hash, TOKEN_HASH) == 0;
}

/* The password behind the first colon of what is encoded. */
static bool is_basic(const struct token *token, const char *encoded)
{
    unsigned char text[HTTP_REQUEST_BYTES + 1] = "";
    size_t length = strlen(encoded);
    if (length % 4 != 0 || length > sizeof(text) ||
        EVP_DecodeBlock(text, (const unsigned char *)encoded, (int)length) < 0)
        return false;
    const char *colon = strchr((const char *)text, ':');
    bool is_right = colon && is_token(token, colon + 1);
    OPENSSL_cleanse(text, sizeof(text));
    return is_right;
}

bool token_matches(const struct token *token, const char *authorization)
{
    static const char BEARER[] = "Bearer ", BASIC[] = "Basic ";
    if (!authorization)
        return false;
    if (strncasecmp(authorization, BEARER, strlen(BEARER)) == 0)
        return is_token(token, authorization + strlen(BEARER));
    return strncasecmp(authorization, BASIC, strlen(BASIC)) == 0 &&
           is_basic(token, authorization + strlen(BASIC));
}
