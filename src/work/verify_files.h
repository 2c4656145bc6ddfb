/*
 * Files that are hashed beside the thread that unpacks them: of an unpacked stream both cost about
 * the same. One unpacker, one hashing thread, a few blocks between them.
 *
 *     verify_files_begin(judge, context, &files, err);
 *     verify_files_add(files, data, length, err);     as often as needed
 *     verify_files_end_file(files, name, err);        judge gets its size and hash, some time later
 *     verify_files_finish(files, err);                all files were judged; the first refusal
 *     verify_files_free(files);                       without finish: what is left is not judged
 *
 * After a refusal the adders fail with it too, so that nothing more is unpacked.
 */
#ifndef PGCAIRN_WORK_VERIFY_FILES_H
#define PGCAIRN_WORK_VERIFY_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/sha256.h"

struct verify_files;

/* Called in the hashing thread; a non-zero return is the refusal. */
typedef int (*verify_judge)(void *context, const char *name, int64_t size,
                            const char hex[SHA256_HEX + 1], struct error *err);

int verify_files_begin(verify_judge judge, void *context, struct verify_files **ret_files,
                       struct error *err);
int verify_files_add(struct verify_files *files, const void *data, size_t length,
                     struct error *err);
int verify_files_end_file(struct verify_files *files, const char *name, struct error *err);
int verify_files_finish(struct verify_files *files, struct error *err);
struct verify_files *verify_files_free(struct verify_files *files);

DEFINE_FREEP(struct verify_files *, verify_files_free)

#endif
