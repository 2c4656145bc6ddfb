/*
 * libcurl's global state, made once for all threads. Whoever is about to make the first handle of a
 * call chain calls s3_curl_init(); it costs nothing after the first time. If libcurl can't be made
 * ready, curl_easy_init() gives NULL, which its caller reports.
 */
#ifndef PGCAIRN_STORE_S3_CURL_H
#define PGCAIRN_STORE_S3_CURL_H

void s3_curl_init(void);

#endif
