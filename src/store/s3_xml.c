#include "store/s3_xml.h"

#include <expat.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "store/s3_secret.h"

struct xml {
    XML_Parser parser;
    s3_xml_visit visit;
    void *context;
    struct error *err;
    int rc;
    char path[S3_XML_PATH_MAX + 1];
    size_t path_length;
    struct buf text;
};

static void stop(struct xml *xml, int rc)
{
    if (!xml->rc)
        xml->rc = rc;
    XML_StopParser(xml->parser, XML_FALSE);
}

static void on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
    struct xml *xml = user;
    (void)attributes;
    size_t length = strlen(name), used = xml->path_length;
    if (used + length + 1 > S3_XML_PATH_MAX) {
        stop(xml, error_set(xml->err, ERR_CORRUPT, "elements are nested too deeply"));
        return;
    }
    if (used > 0)
        xml->path[used++] = '/';
    memcpy(xml->path + used, name, length + 1);
    xml->path_length = used + length;
    buf_reset(&xml->text);
}

static void on_text(void *user, const XML_Char *text, int length)
{
    struct xml *xml = user;
    if (buf_add(&xml->text, text, (size_t)length))
        stop(xml, buf_failed(&xml->text, "the text of an element", xml->err));
}

static void on_end(void *user, const XML_Char *name)
{
    struct xml *xml = user;
    int rc = xml->visit(xml->path, buf_text(&xml->text), xml->context, xml->err);
    if (rc)
        stop(xml, rc);
    size_t length = strlen(name);
    xml->path_length -= length < xml->path_length ? length + 1 : length;
    xml->path[xml->path_length] = '\0';
    buf_reset(&xml->text);
}

static void on_document_type(void *user, const XML_Char *name, const XML_Char *system,
                             const XML_Char *public, int has_subset)
{
    struct xml *xml = user;
    (void)name;
    (void)system;
    (void)public;
    (void)has_subset;
    stop(xml, error_set(xml->err, ERR_CORRUPT, "it declares a document type"));
}

int s3_xml_read(const char *data, size_t length, s3_xml_visit visit, void *context,
                struct error *err)
{
    struct xml xml = {
        .parser = XML_ParserCreate("UTF-8"),
        .visit = visit,
        .context = context,
        .err = err,
    };
    if (!xml.parser || s3_secret_init(&xml.text, S3_XML_TEXT_MAX, err)) { /* STS sends keys */
        XML_ParserFree(xml.parser);
        return error_no_memory(err);
    }
    XML_SetUserData(xml.parser, &xml);
    XML_SetElementHandler(xml.parser, on_start, on_end);
    XML_SetCharacterDataHandler(xml.parser, on_text);
    XML_SetStartDoctypeDeclHandler(xml.parser, on_document_type);
    enum XML_Status status =
        length > INT32_MAX ? XML_STATUS_ERROR : XML_Parse(xml.parser, data, (int)length, XML_TRUE);
    if (status != XML_STATUS_OK && !xml.rc) {
        enum XML_Error code = XML_GetErrorCode(xml.parser);
        xml.rc = code == XML_ERROR_NO_MEMORY
                     ? error_no_memory(err)
                     : error_set(err, ERR_CORRUPT, "it is no whole XML document: %s",
                                 XML_ErrorString(code));
    }
    XML_ParserFree(xml.parser);
    s3_secret_clear(&xml.text);
    return xml.rc;
}

void s3_xml_add(struct buf *buf, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '&')
            buf_add_text(buf, "&amp;");
        else if (*c == '<')
            buf_add_text(buf, "&lt;");
        else if (*c == '>')
            buf_add_text(buf, "&gt;");
        else
            buf_add(buf, c, 1);
    }
}
