#include "store/s3_digest.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

static int digest(const EVP_MD *kind, const void *data, size_t length, struct s3_digest *ret_digest,
                  struct error *err)
{
    struct s3_digest result = {.length = 0};
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_Digest(data, length, bytes, &size, kind, NULL) != 1 || size > sizeof(result.bytes))
        return error_set(
            err, ERR_FAILED,
            "the cryptographic library could not compute %s (is it switched off here?)",
            EVP_MD_get0_name(kind));
    memcpy(result.bytes, bytes, size);
    result.length = size;
    for (unsigned i = 0; i < size; i++)
        snprintf(result.hex + (size_t)i * 2, 3, "%02x", bytes[i]);
    EVP_EncodeBlock((unsigned char *)result.base64, bytes, (int)size);
    *ret_digest = result;
    return 0;
}

int s3_md5(const void *data, size_t length, struct s3_digest *ret_digest, struct error *err)
{
    return digest(EVP_md5(), data, length, ret_digest, err);
}

int s3_sha256(const void *data, size_t length, struct s3_digest *ret_digest, struct error *err)
{
    return digest(EVP_sha256(), data, length, ret_digest, err);
}
