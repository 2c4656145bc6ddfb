#include "store/sha256.h"

#include <openssl/evp.h>

struct sha256 {
    EVP_MD_CTX *context;
};

static int hash_failed(struct error *err)
{
    return error_set(err, ERR_FAILED, "the cryptographic library could not compute SHA-256");
}

int sha256_new(struct sha256 **ret_hash, struct error *err)
{
    _cleanup_(sha256_freep) struct sha256 *hash = calloc(1, sizeof(*hash));
    if (!hash)
        return error_no_memory(err);
    hash->context = EVP_MD_CTX_new();
    if (!hash->context)
        return error_no_memory(err);
    if (EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1)
        return hash_failed(err);
    *ret_hash = TAKE(hash);
    return 0;
}

int sha256_add(struct sha256 *hash, const void *data, size_t length, struct error *err)
{
    return EVP_DigestUpdate(hash->context, data, length) == 1 ? 0 : hash_failed(err);
}

int sha256_end(struct sha256 *hash, char text[SHA256_HEX + 1], struct error *err)
{
    static const char DIGITS[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_DigestFinal_ex(hash->context, bytes, &length) != 1 || length * 2 != SHA256_HEX)
        return hash_failed(err);
    for (unsigned i = 0; i < length; i++) {
        text[i * 2] = DIGITS[bytes[i] >> 4];
        text[i * 2 + 1] = DIGITS[bytes[i] & 15];
    }
    text[SHA256_HEX] = '\0';
    return 0;
}

struct sha256 *sha256_free(struct sha256 *hash)
{
    if (hash)
        EVP_MD_CTX_free(hash->context);
    free(hash);
    return NULL;
}

int sha256_of(const void *data, size_t length, char text[SHA256_HEX + 1], struct error *err)
{
    _cleanup_(sha256_freep) struct sha256 *hash = NULL;
    int rc = sha256_new(&hash, err);
    if (!rc)
        rc = sha256_add(hash, data, length, err);
    return rc ? rc : sha256_end(hash, text, err);
}
