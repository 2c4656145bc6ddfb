#include "store/s3_curl.h"

#include <curl/curl.h>
#include <pthread.h>

static void init_once(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void s3_curl_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_once);
}
