/*
 * S3's XML replies, over expat. The visitor is called at the end of every element, with the path of
 * names from the root ("ListBucketResult/Contents/Key") and the element's own text; so the fields
 * of a record come before the record's end. Namespaces are not looked at. Pure.
 *
 * No entities but XML's five are expanded: a document type declaration is refused.
 */
#ifndef PGCAIRN_STORE_S3_XML_H
#define PGCAIRN_STORE_S3_XML_H

#include <stddef.h>

#include "base/error.h"

enum { S3_XML_PATH_MAX = 255, S3_XML_TEXT_MAX = 16384 };

/* A non-zero return ends the reading and is returned. */
typedef int (*s3_xml_visit)(const char *path, const char *text, void *context, struct error *err);

/* ERR_CORRUPT when it is no XML, or ends early. */
int s3_xml_read(const char *data, size_t length, s3_xml_visit visit, void *context,
                struct error *err);

/* Appends text to buf as XML character data. */
struct buf;
void s3_xml_add(struct buf *buf, const char *text);

#endif
