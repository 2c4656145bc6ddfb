/* The head of a reply, line by line, into the fields of struct s3_reply. A status line begins it
 * anew. Pure. */
#ifndef PGCAIRN_STORE_S3_RECEIVE_H
#define PGCAIRN_STORE_S3_RECEIVE_H

#include "store/s3_request.h"

void s3_receive_line(struct s3_reply *reply, const char *data, size_t length);

#endif
